"""Records to tables: the averages of the contract, and which records stand in one row."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from .analysis import REFERENCE, analyse
from .record import Record
from .table import RANKED_BY, STANDARD, Figure, Row, Table

# Parts of a cell's identity that its row spans, or that its table has in common; the data of a fold are the fold's.
_CELL = ("protocol", "fold", "seed", "data")
# Numbers of pairs and spots are summed, not averaged over genes.
_COUNTS = ("undefined_truth", "undefined_prediction", "n_spots")


def summarise(records: Iterable[Record], reference: str = REFERENCE) -> list[Table]:
    """One table per protocol hash and track, real data first, leaky protocols last.

    Records with other settings never share a row, of another protocol or track never a table. `reference` is the label
    of the row that the statistics compare every other one with.

    Raises:
        ConfigurationError: two records of one row, fold and seed; or sections without a patient.
    """
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    folds: dict[str, set[str]] = defaultdict(set)
    for record in records:
        grouped[record.protocol.hash, record.track].append(record)
        folds[record.protocol.hash].add(record.fold.name)
    tables = [_table(group, tuple(sorted(folds[hash_])), reference) for (hash_, _), group in grouped.items()]
    return sorted(tables, key=lambda t: (t.protocol.simulated, t.protocol.dataset, t.protocol.leaky, t.title))


def identity(record: Record) -> dict[str, Any]:
    """Everything that decides a record's number except fold and seed: records that agree in it share a row.

    A tuned method's parameters differ by fold; its row is known by the search, not by what the search chose.
    """
    parts = {key: value for key, value in record.identity.items() if key not in _CELL}
    parts |= {"name": record.method.name, "origin": record.method.origin}
    if record.tuned is not None:
        chosen = record.tuned.get("chosen", {})
        parameters = parts.get("parameters", {})
        parts["parameters"] = {name: value for name, value in parameters.items() if name not in chosen}
        parts["tuned"] = record.tuned.get("search", True)
    return parts


def patient_of(record: Record) -> dict[str, str]:
    """Patient of each test section of a record.

    Raises:
        ConfigurationError: several patients that do not stand one a section.
    """
    test, patients = record.fold.test, record.fold.test_patients
    if len(set(patients)) == 1:
        return dict.fromkeys(test, patients[0])
    if len(patients) != len(test):
        raise ConfigurationError(
            f"Expected a patient for each of the {len(test)} test sections of fold {record.fold.name}, "
            f"found {len(patients)}; write its record again with this qbench."
        )
    return dict(zip(test, patients, strict=True))


def rank_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows in the order to print, ranked by pcc_hvg among the complete ones that are no oracle; ties share ranks."""

    def value(row: Row) -> float:
        mean = row.figure(RANKED_BY).mean
        return -np.inf if mean is None else mean

    def block(row: Row) -> int:
        ranked = row.complete and row.kind != "oracle" and row.figure(RANKED_BY).mean is not None
        return 0 if ranked else 3 if row.failed else 1 if row.complete else 2

    ordered = sorted(rows, key=lambda row: (block(row), -value(row), row.title, row.key))
    out: list[Row] = []
    for place, row in enumerate(ordered, start=1):
        if block(row) != 0:
            out.append(replace(row, rank=None))
            continue
        # What prints alike ranks alike: a reader cannot see why one stands above the other.
        tied = out and f"{value(row):.3f}" == f"{value(out[-1]):.3f}"
        out.append(replace(row, rank=out[-1].rank if tied else place))
    return out


def _table(records: list[Record], folds: tuple[str, ...], reference: str) -> Table:
    groups: dict[str, list[Record]] = defaultdict(list)
    identities: dict[str, dict[str, Any]] = {}
    for record in records:
        parts = identity(record)
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        groups[key].append(record)
        identities[key] = parts
    rows = [_row(key, group, folds) for key, group in sorted(groups.items())]
    rows = [replace(row, variant=_variant(row, rows, identities)) for row in rows]
    rows = rank_rows(rows)
    return Table(records[0].protocol, records[0].track, folds, tuple(rows), analyse(rows, reference))


def _row(key: str, records: list[Record], folds: tuple[str, ...]) -> Row:
    records = sorted(records, key=lambda r: (r.fold.name, r.seed, r.cell))
    for first, second in pairwise(records):
        if (first.fold.name, first.seed) == (second.fold.name, second.seed):
            changed = "on other data" if first.hashes.data != second.hashes.data else "of one identity"
            raise ConfigurationError(
                f"Expected one record of {first.method.label} on fold {first.fold.name} with seed {first.seed}, found "
                f"two {changed} (cells {first.cell[:12]} and {second.cell[:12]}); move one of their folders away."
            )
    done = [r for r in records if r.status == "done"]
    failed = len(records) - len(done)
    # A leaky protocol's headline is the leak: folds whose patient was never seen in training would dilute it.
    counted = [r for r in done if r.fold.patient_in_training] if records[0].protocol.leaky else done
    patients = {section: patient for r in counted for section, patient in patient_of(r).items()}
    seeds = sorted({r.seed for r in records})
    by_section = _by_section(counted, seeds)
    pooled = _pooled(counted, seeds)
    names = sorted(set(patients.values()))
    cubes = {name: _patients(values, patients, names, seeds) for name, values in by_section.items()}
    cubes |= {f"{name}_pooled": _patients(values, None, names, seeds) for name, values in pooled.items()}
    averaged = {name: cube for name, cube in cubes.items() if name not in (*_COUNTS, "sd_ratio")}
    figures = {name: Figure() if failed else _figure(cube) for name, cube in averaged.items()}
    first = records[0]
    return Row(
        key=key,
        method=_label(records),
        name=first.method.name,
        kind=first.method.kind,
        variant="",
        profile=first.method.profile,
        encoder=_encoder(first),
        settings={k: v for k, v in first.method.settings.items() if k not in (first.tuned or {}).get("chosen", {})},
        rank=None,
        folds=tuple(sorted({r.fold.name for r in done})),
        folds_due=len(folds),
        cells_due=len(folds) * len(seeds),
        n_patients=len(names),
        n_folds=len({r.fold.name for r in counted}),
        n_seeds=len(seeds),
        failed=failed,
        n_parameters=max((r.method.n_parameters for r in done), default=0),
        fit_seconds=float(np.mean([r.fit_seconds for r in done])) if done else 0.0,
        peak_memory_mb=max((r.peak_memory_mb for r in done), default=0.0),
        undefined_truth=None if failed else _total(by_section.get("undefined_truth")),
        undefined_prediction=None if failed else _total(by_section.get("undefined_prediction")),
        sd_ratio=None if failed or "sd_ratio" not in cubes else _figure(cubes["sd_ratio"]).mean,
        figures={**dict.fromkeys(STANDARD, Figure()), **figures},
        by_patient={name: _named(_mean(cube, axis=0), names) for name, cube in averaged.items()},
        by_section={
            name: {section: float(_mean(values[section], axis=0)) for section in sorted(values)}
            for name, values in by_section.items()
        },
        patients=patients,
        cells=tuple(r.cell for r in done),
        records=tuple(records),
    )


def _label(records: Sequence[Record]) -> str:
    """The shortest label of a row's records; a tuned row says so, as its records' labels differ by fold."""
    tuned = records[0].tuned
    if tuned is not None and {"method", "trials"} <= tuned.keys():
        return f"{tuned['method']} tuned ({tuned['trials']} trials)"
    return min((r.method.label for r in records), key=lambda label: (len(label), label))


def _encoder(record: Record) -> str | None:
    if record.encoder is None:
        return None
    return record.encoder.name + (" (random weights)" if record.encoder.weights == "random" else "")


def _collect(
    records: Sequence[Record], seeds: Sequence[int], of: Callable[[Record], Mapping[str, Mapping[str, float | None]]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Figure -> section (or patient) -> values by seed, NaN where missing; folds of one seed are averaged."""
    lists: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(lambda: [[] for _ in seeds]))
    for record in records:
        at = seeds.index(record.seed)
        for unit, figures in of(record).items():
            for name, value in figures.items():
                if value is not None:
                    lists[name][unit][at].append(value)
    return {
        name: {unit: np.array([np.mean(v) if v else np.nan for v in by_seed]) for unit, by_seed in units.items()}
        for name, units in lists.items()
    }


def _by_section(records: Sequence[Record], seeds: Sequence[int]) -> dict[str, dict[str, NDArray[np.float64]]]:
    return _collect(records, seeds, lambda record: record.scores)


def _pooled(records: Sequence[Record], seeds: Sequence[int]) -> dict[str, dict[str, NDArray[np.float64]]]:
    return _collect(records, seeds, lambda record: record.pooled)


def _patients(
    values: Mapping[str, NDArray[np.float64]],
    patients: Mapping[str, str] | None,
    names: Sequence[str],
    seeds: Sequence[int],
) -> NDArray[np.float64]:
    """(seeds, patients): the mean over a patient's sections; `patients` None says that the units are patients."""
    cube = np.full((len(seeds), len(names)), np.nan)
    for column, name in enumerate(names):
        units = [v for unit, v in values.items() if (unit if patients is None else patients[unit]) == name]
        if units:
            cube[:, column] = _mean(np.stack(units), axis=0)
    return cube


def _figure(cube: NDArray[np.float64]) -> Figure:
    by_patient = _mean(cube, axis=0)
    by_patient = by_patient[~np.isnan(by_patient)]
    whole = ~np.isnan(cube[:, ~np.isnan(cube).all(axis=0)]).any(axis=1)
    by_seed = _mean(cube[whole], axis=1)
    return Figure(
        mean=float(by_patient.mean()) if len(by_patient) else None,
        sd_patients=float(by_patient.std(ddof=1)) if len(by_patient) > 1 else None,
        sd_seeds=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
    )


def _mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The mean of what is there; NaN, without a warning, where nothing is."""
    there = ~np.isnan(values)
    n = there.sum(axis=axis)
    return np.where(n > 0, np.where(there, values, 0.0).sum(axis=axis) / np.maximum(n, 1), np.nan)


def _total(values: Mapping[str, NDArray[np.float64]] | None) -> float | None:
    """Sum over sections of a number of pairs, seeds averaged."""
    return None if not values else float(sum(_mean(v, axis=0) for v in values.values()))


def _named(values: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    return {name: float(v) for name, v in zip(names, values, strict=True) if not np.isnan(v)}


def _variant(row: Row, rows: Sequence[Row], identities: Mapping[str, dict[str, Any]]) -> str:
    """What tells a row from those of the same label: the parts of its identity in which they differ."""
    own = _leaves(identities[row.key])
    same = [_leaves(identities[other.key]) for other in rows if other.method == row.method]
    names = sorted({name for leaves in same for name in leaves})
    differ = [name for name in names if any(leaves.get(name) != own.get(name) for leaves in same)]
    return ", ".join(f"{name.rsplit('.', 1)[-1]}={_short(own.get(name))}" for name in differ)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parts as one level, "encoders.default.weights": a value."""
    out: dict[str, Any] = {}
    for key, part in value.items():
        out |= _leaves(part, f"{prefix}{key}.") if isinstance(part, Mapping) else {f"{prefix}{key}": part}
    return out


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text

"""Records to tables: the averages of the contract, and which records stand in one row."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from .analysis import REFERENCE, analyse
from .averages import collect, figure_of, mean_of, named, over_sections, total_of
from .encoder_axis import encoder_of
from .record import Record
from .row import RANKED_BY, STANDARD, Figure, Row
from .table import Table

# Parts of a cell's identity that its row spans, or that its table has in common; the data of a fold are the fold's.
_CELL = ("protocol", "fold", "seed", "data")
_STAIN = "patches.stain"  # said of a row even where no other one was treated otherwise
# Numbers of pairs and spots are summed, not averaged over genes.
_COUNTS = ("undefined_truth", "undefined_prediction", "n_spots")


def summarise(records: Iterable[Record], reference: str = REFERENCE, encoders: Sequence[str] = ()) -> list[Table]:
    """One table per protocol hash and track, real data first, leaky protocols last.

    Records with other settings never share a row, of another protocol or track never a table. `reference` is the label
    of the row that the statistics compare every other one with. `encoders` leaves out what stands on another one.

    Raises:
        ConfigurationError: two records of one row, fold and seed; or sections without a patient.
    """
    grouped: dict[tuple[str, str], list[Record]] = defaultdict(list)
    folds: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if not encoders or encoder_of(record) in (None, *encoders):
            grouped[record.protocol.hash, record.track].append(record)
        folds[record.protocol.hash].add(record.fold.name)
    tables = [
        replace(_table(group, tuple(sorted(folds[hash_])), reference), only=tuple(encoders))
        for (hash_, _), group in grouped.items()
    ]
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
    leaves = {key: _leaves(parts) for key, parts in identities.items()}
    rows = [
        _told_apart(row, [leaves[other.key] for other in rows if other.method == row.method], leaves) for row in rows
    ]
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
    by_section = collect(counted, seeds, lambda record: record.scores)
    pooled = collect(counted, seeds, lambda record: record.pooled)
    names = sorted(set(patients.values()))
    cubes = {name: over_sections(values, patients, names, seeds) for name, values in by_section.items()}
    cubes |= {f"{name}_pooled": over_sections(values, None, names, seeds) for name, values in pooled.items()}
    averaged = {name: cube for name, cube in cubes.items() if name not in (*_COUNTS, "sd_ratio")}
    # A benchmark's own figures: each split is one, however many patients it tests.
    whole = collect(counted, seeds, lambda record: {record.fold.name: record.whole})
    by_fold = {name: np.stack(list(values.values()), axis=1) for name, values in whole.items()}
    figures = {name: Figure() if failed else figure_of(cube) for name, cube in (averaged | by_fold).items()}
    first = records[0]
    return Row(
        key=key,
        method=_label(records),
        name=first.method.name,
        kind=first.method.kind,
        variant="",
        line="",
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
        undefined_truth=None if failed else total_of(by_section.get("undefined_truth")),
        undefined_prediction=None if failed else total_of(by_section.get("undefined_prediction")),
        sd_ratio=None if failed or "sd_ratio" not in cubes else figure_of(cubes["sd_ratio"]).mean,
        figures={**dict.fromkeys(STANDARD, Figure()), **figures},
        by_patient={name: named(mean_of(cube, axis=0), names) for name, cube in averaged.items()},
        by_section={
            name: {section: float(mean_of(values[section], axis=0)) for section in sorted(values)}
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


def _told_apart(row: Row, same: Sequence[Mapping[str, Any]], leaves: Mapping[str, Mapping[str, Any]]) -> Row:
    """A row with what tells it from those of the same label: the parts of its identity in which they differ."""
    own = leaves[row.key]
    names = sorted({name for other in same for name in other})
    differ = [name for name in names if any(other.get(name) != own.get(name) for other in same) or name == _STAIN]
    treatments = {(other.get(_STAIN), other.get(f"{_STAIN}_version")) for other in same}
    if len(treatments) == len({stain for stain, _ in treatments}):  # the stain's name tells them apart
        differ = [name for name in differ if name != f"{_STAIN}_version"]
    encoders = [name for name in differ if name.endswith(".encoder")]
    for encoder in encoders:  # its mean, weights and dtype follow from its name, unless its namesakes have others
        network = encoder.removesuffix("encoder")
        namesakes = [other for other in same if other.get(encoder) == own.get(encoder)]
        differ = [
            name
            for name in differ
            if name == encoder
            or not name.startswith(network)
            or any(other.get(name) != own.get(name) for other in namesakes)
        ]

    def written(names: Sequence[str]) -> str:
        return ", ".join(f"{name.rsplit('.', 1)[-1]}={_short(own.get(name))}" for name in names)

    beside = written([name for name in differ if name not in encoders])
    return replace(row, variant=written(differ), line=f"{row.method} ({beside})" if beside else row.method)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parts as one level, "encoders.default.weights": a value."""
    out: dict[str, Any] = {}
    for key, part in value.items():
        out |= _leaves(part, f"{prefix}{key}.") if isinstance(part, Mapping) else {f"{prefix}{key}": part}
    return out


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text

"""Two rows of one table side by side: where their gap comes from, by patient, section and gene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, unknown
from .averages import mean_of, named
from .record import ProtocolRecord
from .row import RANKED_BY, Row
from .statistics import bootstrap, max_t, too_few
from .stored import section_scores
from .table import Table


@dataclass(frozen=True)
class Pair:
    """A unit (patient, section or gene) with both values; the gap is `first - second`."""

    unit: str
    first: float
    second: float

    @property
    def gap(self) -> float:
        """First minus second, in the figure's unit."""
        return self.first - self.second


@dataclass(frozen=True)
class Gap:
    """`first` minus `second` on one figure of one table.

    Attributes:
        sentence: said in place of p and interval where patients are too few, else "".
        p: exact sign-flip p over patients, two-sided, of this one pair.
        interval: 95 % of the mean gap.
        genes: by gap, best for `first` first; empty without stored scores.
    """

    table: Table
    figure: str
    first: Row
    second: Row
    patients: tuple[Pair, ...]
    sections: tuple[Pair, ...]
    genes: tuple[Pair, ...]
    sentence: str
    p: float | None
    interval: tuple[float, float] | None

    @property
    def mean(self) -> float:
        """Mean gap over patients, seeds averaged."""
        return float(np.mean([pair.gap for pair in self.patients]))


def compare(
    tables: Sequence[Table], first: str, second: str, folders: Mapping[str, Path], figure: str = RANKED_BY
) -> list[Gap]:
    """The gap between two rows, in every table that has both; names are labels, or labels with their variant.

    Raises:
        ConfigurationError: a name that no table has; two rows that share no table, with what differs between their
            protocols; rows without a common patient; an unknown figure.
    """
    homes = {name: [table for table in tables if table.row(name) is not None] for name in (first, second)}
    for name, found in homes.items():
        if not found:
            raise unknown("row", name, {row.title for table in tables for row in table.rows})
    shared = [table for table in homes[first] if table in homes[second]]
    if not shared:
        a, b = homes[first][0], homes[second][0]
        raise ConfigurationError(
            f"Expected {first} and {second} in one table, found them under two protocols that differ in "
            f"{'; '.join(differences(a, b))}; run both under the same protocol."
        )
    gaps = [gap for table in shared if (gap := _gap(table, first, second, folders, figure)) is not None]
    if not gaps:
        known = {name for table in shared for row in table.rows for name in row.by_patient}
        if figure not in known:
            raise unknown("figure", figure, known)
        raise ConfigurationError(
            f"Expected patients on which both {first} and {second} are done, found none; finish their cells first."
        )
    return gaps


def differences(first: Table, second: Table) -> list[str]:
    """What differs between two tables' protocols and tracks, in words."""
    out = [] if first.track == second.track else [f"track ({first.track}, {second.track})"]
    a, b = _parts(first.protocol), _parts(second.protocol)
    for name in sorted({*a, *b}):
        if name.startswith("patients ") and None in (a.get(name), b.get(name)):
            continue  # of a section that only one has, which `sections` says
        if a.get(name) != b.get(name):
            out.append(f"{name} ({_words(a.get(name))}, {_words(b.get(name))})")
    return out or [f"hash ({first.protocol.hash[:8]}, {second.protocol.hash[:8]})"]


def _parts(protocol: ProtocolRecord) -> dict[str, Any]:
    """What a protocol says, patients and rules one by one."""
    named = protocol.model_dump(mode="json", exclude={"hash", "definition", "simulated"})
    parts = {**protocol.definition, **named}
    for name in ("patients", "rules"):
        parts |= {f"{name} {key}": value for key, value in parts.pop(name, {}).items()}
    return parts


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        names = [str(item[0]) if isinstance(item, list) and item else str(item) for item in value]
        return f"{len(value)}: {', '.join(names[:4])}{', …' if len(value) > 4 else ''}"
    text = "none" if value is None else str(value)
    return text[:8] if len(text) == 64 else text


def _gap(table: Table, first: str, second: str, folders: Mapping[str, Path], figure: str) -> Gap | None:
    a, b = table.row(first), table.row(second)
    assert a is not None
    assert b is not None
    patients = _pairs(a.by_patient.get(figure, {}), b.by_patient.get(figure, {}))
    if not patients:
        return None
    gaps = np.array([[pair.gap for pair in patients]])
    few = too_few(len(patients))
    sampled = None if few else bootstrap(gaps, None).mean[0]
    return Gap(
        table=table,
        figure=figure,
        first=a,
        second=b,
        patients=patients,
        sections=_pairs(a.by_section.get(figure, {}), b.by_section.get(figure, {})),
        genes=tuple(sorted(_genes(a, b, folders, figure), key=lambda pair: -pair.gap)),
        sentence=few,
        p=None if few else float(max_t(gaps)[0][0]),
        interval=None if sampled is None else (float(sampled[0]), float(sampled[1])),
    )


def _pairs(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[Pair, ...]:
    return tuple(Pair(unit, first[unit], second[unit]) for unit in sorted(first.keys() & second.keys()))


def _genes(first: Row, second: Row, folders: Mapping[str, Path], figure: str) -> tuple[Pair, ...]:
    """Genes of the figure's list; a gene is averaged over sections, then patients, where both rows have it."""
    name = figure.split(":", maxsplit=1)[0]
    stem, _, rest = name.partition("_")
    column = stem + ("_unrounded" if rest.endswith("unrounded") else "_depth_adjusted" if "depth" in rest else "")
    chosen = next((key for key in ("mg", "hvg", "heg") if rest.startswith(key)), "all")
    return _pairs(*(gene_means(row, folders, column, chosen) for row in (first, second)))


def gene_means(
    row: Row, folders: Mapping[str, Path], column: str = "pcc", genes: str | None = None
) -> dict[str, float]:
    """Mean of a column of the scores by gene: over seeds, a patient's sections, then patients.

    `genes` is a list's column ("mg", "hvg", "heg", "all"), whose genes may differ by fold, or None for all; empty where
    no scores are stored.
    """
    places: dict[str, int] = {}  # of each gene a column, in the order in which they are met
    found: dict[str, list[tuple[list[int], NDArray[np.float64]]]] = {}  # by section
    for record in row.records:
        if record.cell in folders and record.status == "done":
            for section, names, values in section_scores(folders[record.cell], record, column, genes):
                if section in row.patients:
                    columns = [places.setdefault(name, len(places)) for name in names]
                    found.setdefault(section, []).append((columns, values))
    by_patient: dict[str, list[NDArray[np.float64]]] = {}
    for section, cells in found.items():
        cube = np.full((len(cells), len(places)), np.nan)
        for line, (columns, values) in zip(cube, cells, strict=True):
            line[columns] = values
        by_patient.setdefault(row.patients[section], []).append(mean_of(cube, axis=0))
    if not places:
        return {}
    means = mean_of(np.stack([mean_of(np.stack(lines), axis=0) for lines in by_patient.values()]), axis=0)
    return named(means[list(places.values())], list(places))

"""What a prediction is good for, as stored beside a cell's record, and its averages over a table's rows.

The figures are made by `benchmark.downstream`; they stand in columns of their own and decide no rank.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ..array_files import read_parquet
from ..errors import DataError, reading
from ..files import check_regular
from .averages import collect, figure_of, over_sections
from .record import Name, Record
from .row import Figure, Row

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1  # of the figures' definitions; raised when they move, so that stored ones are made anew
FILE = "downstream.parquet"
AGAIN = "make it again with 'qbench downstream RUNS'"
_KEY = b"qbench"  # of the parquet's metadata
SET = "set:"  # what the figures of gene sets begin with
_MOST = 1 << 26  # bytes of the metadata
_COUNTED = ("spots", "constant_truth", "constant_prediction", "sets_scored", "sets_skipped")


class StoredDownstream(BaseModel):
    """What a cell's file says beside its per-gene columns.

    Attributes:
        version: of the definitions.
        predictions: sha256 of the predictions it was made of, as the record has it.
        figures: section -> figure -> value, null where it is not defined.
        ceilings: the same for what counting noise allows.
        sets: the gene sets that were scored.
        labels: section -> a pathologist's label per spot, of the sections that have them.
        packages: versions that decide where domains end.
        sha256: over all of this and the columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    predictions: str
    figures: dict[Name, dict[Name, float | None]]
    ceilings: dict[Name, dict[Name, float | None]]
    sets: dict[Name, tuple[Name, ...]]
    labels: dict[Name, tuple[Name, ...]]
    packages: dict[str, str]
    sha256: str = ""

    def of(self, record: Record) -> bool:
        """Whether it is of today's definitions and of that record's predictions."""
        return self.version == VERSION and self.predictions == record.hashes.predictions


@dataclass(frozen=True)
class Downstream:
    """Of one table; rows by key.

    Attributes:
        figures: row -> figure -> mean over a patient's sections, then patients, with its spreads.
        ceiling: figure -> what counting noise allows, averaged alike.
        sets: names of the gene sets, in the order asked.
        notes: sentences on what is left out.
    """

    figures: Mapping[str, Mapping[str, Figure]]
    ceiling: Mapping[str, float]
    sets: tuple[str, ...]
    notes: tuple[str, ...]

    def figure(self, row: Row, name: str) -> Figure:
        """A figure of a row; an empty one where there is none."""
        return self.figures.get(row.key, {}).get(name, Figure())

    def known(self, name: str) -> bool:
        """Whether any row has the figure."""
        return any(figures.get(name, Figure()).mean is not None for figures in self.figures.values())


def content_hash(stored: StoredDownstream, columns: Mapping[str, NDArray[Any]]) -> str:
    """sha256 over what is stored but the hash itself, and over the columns by name."""
    digest = hashlib.sha256(json.dumps(stored.model_dump(exclude={"sha256"}), sort_keys=True).encode())
    for name in sorted(columns):
        digest.update(name.encode())
        values = columns[name]
        if values.dtype == object:
            digest.update("\x1f".join(map(str, values)).encode())
        else:
            digest.update(np.ascontiguousarray(values, dtype=np.float64).data)
    return digest.hexdigest()


def parquet_metadata(stored: StoredDownstream) -> dict[bytes, bytes]:
    """The metadata of a file of these."""
    return {_KEY: stored.model_dump_json().encode()}


def read_stored(folder: Path) -> StoredDownstream | None:
    """What a cell's file says beside its columns; None where the cell has none.

    Raises:
        DataError: a damaged file, or none of qbench.
    """
    import pyarrow.parquet as pq

    path = folder / FILE
    if not path.exists():
        return None
    with reading("downstream figures", path, AGAIN):
        check_regular(path)
        text = (pq.read_schema(path).metadata or {}).get(_KEY, b"")
        if len(text) > _MOST:
            raise ValueError(f"its metadata have {len(text):,} bytes")
    try:
        return StoredDownstream.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "its metadata"
        raise DataError(f"Expected downstream figures in {path}, but {where}: {first['msg']}; {AGAIN}.") from error


def read_genes(folder: Path) -> pd.DataFrame:
    """The per-gene columns of a cell, a row a section and gene.

    Raises:
        DataError: no such file, or a damaged one.
    """
    return read_parquet(folder / FILE, "downstream figures", AGAIN).to_pandas()


def table_downstream(
    rows: Sequence[Row], folders: Mapping[str, Path], damaged: Callable[[str], None] | None = None
) -> Downstream | None:
    """The averages of a table's rows; None where no cell has a file of today's definitions.

    A row is averaged where every cell behind its figures has one: a mean over some folds is nothing to compare.
    """
    held: dict[str, StoredDownstream] = {}
    notes = []
    for row in rows:
        for record in (r for r in row.records if r.status == "done" and r.cell in folders):
            try:
                stored = read_stored(folders[record.cell])
            except DataError as error:
                if damaged is None:
                    raise
                damaged(str(error))
                continue
            if stored is not None and stored.of(record):
                held[record.cell] = stored
    if not held:
        return None
    common = Counter(_sets_key(stored) for stored in held.values()).most_common(1)[0][0]
    figures = {}
    for row in rows:
        counted = [r for r in row.records if r.status == "done" and set(r.scores) & set(row.patients)]
        there = [r for r in counted if r.cell in held]
        if row.failed or not there:
            continue
        if len(there) < len(counted):
            notes.append(f"{row.title}: {len(there)} of {len(counted)} cells have downstream figures; {AGAIN}")
            continue
        sets = all(_sets_key(held[r.cell]) == common for r in there)
        if not sets:
            notes.append(f"{row.title} was scored with other gene sets; {AGAIN}")
        figures[row.key] = _row_figures(row, there, held, sets)
    ceiling, patients = _ceilings(rows, held)
    return Downstream(
        figures=figures,
        ceiling={name: mean for name, value in ceiling.items() if (mean := _over(value, patients)) is not None},
        sets=next(tuple(stored.sets) for stored in held.values() if _sets_key(stored) == common),
        notes=tuple(notes),
    )


def _row_figures(
    row: Row, records: list[Record], held: Mapping[str, StoredDownstream], sets: bool
) -> dict[str, Figure]:
    seeds = sorted({record.seed for record in records})
    names = sorted(set(row.patients.values()))

    def of(record: Record) -> dict[str, dict[str, float | None]]:
        found = held[record.cell].figures
        return {
            section: {n: v for n, v in values.items() if sets or not n.startswith("set")}
            for section, values in found.items()
            if section in row.patients
        }

    return {
        name: figure_of(over_sections(values, row.patients, names, seeds))
        for name, values in collect(records, seeds, of).items()
        if name not in _COUNTED
    }


def _ceilings(
    rows: Sequence[Row], held: Mapping[str, StoredDownstream]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Figure -> section -> ceiling, of any one cell of each fold; and each section's patient."""
    out: dict[str, dict[str, float]] = {}
    patients: dict[str, str] = {}
    for row in rows:
        patients |= row.patients
        for record in row.records:
            if record.cell in held:
                for section, values in held[record.cell].ceilings.items():
                    for name, value in values.items():
                        if value is not None and section in row.patients:
                            out.setdefault(name, {}).setdefault(section, value)
    return out, patients


def _over(by_section: Mapping[str, float], patients: Mapping[str, str]) -> float | None:
    values = {section: np.array([value]) for section, value in by_section.items()}
    return figure_of(over_sections(values, patients, sorted(set(patients.values())), [0])).mean


def _sets_key(stored: StoredDownstream) -> str:
    return json.dumps(list(stored.sets.items()))

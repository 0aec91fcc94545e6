"""Hold a runs folder against itself: every hash and every score again, from the stored predictions.

What is checked of a cell: its identity's hash; that the record, its protocol and fold, and the sections, patients, spots
and panel of the predictions are those of the identity; the hashes of predictions, scores and model; the integer counts; and
every score and figure, computed again from predictions and truth with today's code, downstream figures where they are
stored. An edited number therefore contradicts something wherever it was edited. Data and images are not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.hashing import canonical_hash
from ...datasets.target import integer_counts
from ...errors import ConfigurationError, QbenchError, reason
from ...leaderboard.record import Record, read_record
from ...leaderboard.stored import (
    StoredPredictions,
    damage,
    open_predictions,
    read_predictions,
    read_spots,
    read_table,
)
from ..downstream.cell import Memory
from ..downstream.cell import check as check_downstream
from ..scoring.metrics import SCORE_VERSION
from .rescore import rescore
from .result import CellResult, hash_scores
from .split_check import check_split, check_stored
from .store import hash_folder

# Another machine sums in another order; more than this is another number.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
Progress = Callable[[str, int, int], None]
PREDICTIONS = "predictions.h5ad"


@dataclass(frozen=True)
class Problem:
    """A contradiction in a cell: the folder's name below the runs folder, and one sentence."""

    cell: str
    message: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found: cells that were held against their files, failed cells (nothing to hold), contradictions."""

    cells: int
    failed: int
    problems: tuple[Problem, ...]


def verify(runs: Path, progress: Progress | None = None) -> Verification:
    """Check every cell of a runs folder.

    Raises:
        ConfigurationError: a folder without any record.
    """
    paths = [path for path in sorted(runs.glob("*/*/record.json")) if not path.parent.name.startswith(".")]
    if not paths:
        raise ConfigurationError(f"Expected records below {runs}, found none; name a runs folder.")
    problems: list[Problem] = []
    failed = 0
    memory = Memory()
    for done, path in enumerate(paths, start=1):
        name = path.parent.relative_to(runs).as_posix()
        try:
            told: list[str] = []  # said of a record whose edit contradicts nothing
            record = read_record(path, told.append)
            failed += record.status == "failed"
            problems += [Problem(name, message) for message in check_cell(path.parent, record, memory) or told]
        except QbenchError as error:
            problems.append(Problem(name, str(error)))
        if progress is not None:
            progress("verifying", done, len(paths))
    return Verification(len(paths) - failed, failed, tuple(problems))


def check_cell(folder: Path, record: Record, memory: Memory | None = None, left_out: Collection[str] = ()) -> list[str]:
    """Every contradiction in one cell's folder, and what in it is missing or cannot be read, a sentence each.

    Args:
        folder: of the cell.
        record: the cell's.
        memory: what downstream figures of cells of one fold share.
        left_out: files that were left out on purpose; without its predictions a cell's scores are not computed again.
    """
    found = check_record(record) + damage(folder, record, left_out)
    if record.status == "failed":
        return found
    try:
        if PREDICTIONS in left_out and not (folder / PREDICTIONS).exists():
            return found + _check_hash(read_columns(folder), record)
        found += _check_results(folder, record)
        return found + check_downstream(folder, record, memory or Memory())
    except QbenchError as error:
        return list(dict.fromkeys([*found, str(error)]))
    except Exception as error:  # noqa: BLE001 - readable files that contradict each other fail anywhere
        return [*found, f"its files do not belong together: {reason(error)}; run the cell again"]


def _check_results(folder: Path, record: Record) -> list[str]:
    stored, columns = read_predictions(folder), read_columns(folder)
    n_ranked = int(columns["all"][: len(stored.genes)].sum())
    found = check_stored(record, stored, n_ranked)
    result = rescore(stored, read_spots(folder), n_ranked, record)
    if any(not np.array_equal(r.truth, stored.truth[stored.sections == r.section.id]) for r in result.sections):
        found.append("the stored truth is no transform of integer counts")
    if result.hashes()["predictions"] != record.hashes.predictions:
        found.append("the predictions are not those that the record was made of (sha256 differs)")
    if stored.unclamped is not None and not np.array_equal(np.maximum(stored.unclamped, 0), stored.prediction):
        found.append("the predictions are not the unclamped ones, clamped at 0")
    if record.protocol.target == "counts":
        found += _check_export(folder, stored)
    found += _check_hash(columns, record)
    if record.identity.get("scores") == SCORE_VERSION:
        found += _check_scores(result, columns, record)
    if (folder / "model").is_dir() and hash_folder(folder / "model") != record.hashes.model:
        found.append("the saved model is not the one that the record was made of (sha256 differs)")
    return found


def _check_hash(columns: dict[str, NDArray[Any]], record: Record) -> list[str]:
    same = hash_scores(columns) == record.hashes.scores
    return [] if same else ["scores.parquet is not the one that the record was made of (sha256 differs)"]


def check_record(record: Record) -> list[str]:
    """Contradictions in what a record says of itself, without its files."""
    found = []
    if canonical_hash(record.identity) != record.cell:
        found.append("the cell is not the hash of its identity")
    repeated: dict[str, Any] = {
        "method": record.method.name,
        "version": record.method.version,
        "parameters": record.method.parameters,
        "profile": record.method.profile,
        "protocol": record.protocol.hash,
        "seed": record.seed,
        "precision": record.precision,
        "select": record.select,
        "max_epochs": record.max_epochs,
    }
    for name, value in repeated.items():
        if name in record.identity and record.identity[name] != value:
            found.append(f"the record's {name} is not that of its identity")
    return found + check_split(record)


def _check_export(folder: Path, stored: StoredPredictions) -> list[str]:
    with open_predictions(folder) as file:
        counts = file["layers/counts"][:]
    same = np.array_equal(counts, integer_counts(stored.prediction)[0])
    return [] if same else ["the integer counts are not the rounded predictions"]


def _check_scores(result: CellResult, columns: Mapping[str, NDArray[Any]], record: Record) -> list[str]:
    found = []
    again = result.columns()
    for name, values in again.items():
        there = columns.get(name)
        if there is None or len(there) != len(values) or not _same(values, there):
            found.append(f"scores.parquet: {name} is not what the predictions give")
    kinds = (("scores", result.scores, record.scores), ("pooled", result.pooled, record.pooled))
    for kind, ours, theirs in (*kinds, ("whole", {"split": result.whole}, {"split": record.whole})):
        for unit in sorted({*ours, *theirs}):
            a, b = ours.get(unit, {}), theirs.get(unit, {})
            wrong = [name for name in sorted(a.keys() & b.keys()) if not _close(a[name], b[name])]
            found += [f"record.json: {kind} {unit} {name} is {b[name]}, computed again {a[name]}" for name in wrong]
            if a and not b:
                found.append(f"record.json: {kind} of {unit} are missing")
    return found


def _same(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    if ours.dtype.kind == "f":
        return bool(np.allclose(ours, theirs.astype(np.float64), _RELATIVE, _ABSOLUTE, equal_nan=True))
    return bool(np.array_equal(ours, theirs))


def _close(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return bool(np.isclose(ours, theirs, _RELATIVE, _ABSOLUTE))


def read_columns(folder: Path) -> dict[str, NDArray[Any]]:
    """The columns of `scores.parquet` as they were written: names as objects with None, numbers and flags as arrays."""
    import pyarrow as pa

    out: dict[str, NDArray[Any]] = {}
    table = read_table(folder)
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            out[name] = np.array(column.to_pylist(), dtype=object)
        else:
            out[name] = column.to_numpy(zero_copy_only=False)
    return out

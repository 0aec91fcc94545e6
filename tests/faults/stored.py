"""What qbench stores, and what it is read as: a flipped bit must be told, or change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.predict.parts import Parts
from qbench.benchmark.sweep.trial_files import TrialResult, read_history, read_result, write_history, write_result
from qbench.datasets.cache import ArrayCache
from qbench.datasets.entry import EntryWriter
from qbench.leaderboard.record import find_records

from ..support.leaderboard_runs import make_runs

VALUES = np.arange(60_000, dtype=np.float32).reshape(300, 200)
Read = Callable[[Path], str]


def fill(writer: EntryWriter) -> None:
    writer.store("values", VALUES)
    writer.store("small", np.arange(3.0))
    writer.metadata["genes"] = ["G1", "G2"]


def stored_kinds(folder: Path) -> Iterator[tuple[str, Path, Read]]:
    """Name, the folder that is damaged, and how it is read: "" where nothing changed, other words where something did."""
    ArrayCache(folder / "cache").get("kind", "key", fill)
    yield "cache", folder / "cache" / "kind", _cache
    trial = folder / "trial"
    trial.mkdir()
    write_result(
        trial, TrialResult(fold="A", number=1, settings={"alpha": 0.5}, status="finished", validation_mse=0.25)
    )
    write_history(trial, [{"epoch": 1.0, "validation_mse": 0.5}, {"epoch": 2.0, "validation_mse": 0.25}])
    yield "trial", trial, _trial
    Parts(folder / "parts" / "out.h5ad", "mine").save(0, VALUES)
    yield "window", folder / "parts", _window
    make_runs(folder / "runs", {"ridge": 0.8}, patients="AB", sections=1)
    yield "runs, verified", folder / "runs", _runs


def _cache(folder: Path) -> str:
    entry = ArrayCache(folder.parent).get("kind", "key", fill)
    same = np.array_equal(entry.arrays["values"], VALUES) and entry.metadata == {"genes": ["G1", "G2"]}
    return "" if same else "other values"


def _trial(folder: Path) -> str:
    result, history = read_result(folder), read_history(folder)
    if result is not None and (result.validation_mse != 0.25 or result.settings != {"alpha": 0.5}):
        return "another result"
    return "" if [entry["validation_mse"] for entry in history] in ([0.5, 0.25], [0.5], []) else "another history"


def _window(folder: Path) -> str:
    parts = Parts(folder / "out.h5ad", "mine")
    return "" if not parts.done(0, VALUES.shape) or np.array_equal(parts.load(0), VALUES) else "other values"


def _runs(folder: Path) -> str:
    """The records that `make_runs` writes have no identity, so some problems are always there."""
    told = verify(folder).problems
    scores = {str(path): record.scores for path, record in find_records(folder)} if told else {}
    digest = hashlib.sha256(repr(sorted(scores.items())).encode()).hexdigest()
    return "" if told else digest

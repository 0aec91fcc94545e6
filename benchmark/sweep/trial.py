"""One trial: a point of the space on one fold, what it leaves in the sweep's folder, and its process."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from ...errors import MethodError, QbenchError
from ...files import disk_full
from ...methods.machine import resolve_device
from ...methods.method import FitContext
from ...methods.selection import to_minimise, validation_scores
from ...names import path_part
from ..engine.fit_predict import fit, predict, set_threads
from ..engine.process import Send, events
from ..plugins import load_plugins
from .space import Settings
from .trial_files import TrialResult, read_history
from .view import FoldView, open_view


class TrialTask(BaseModel):
    """All that a trial needs, as plain data; `folder` is its own, `threads` are the CPUs that it asked Ray for."""

    model_config = ConfigDict(frozen=True)

    number: int
    fold: str
    method: str
    settings: Settings
    profile: Literal["fast", "paper"]
    plugins: tuple[str, ...]
    view: FoldView
    backbone: Path | Literal["random"] | None
    seed: int
    select: Literal["mse", "pcc"]
    max_epochs: int | None
    device: str
    precision: Literal["fp32", "bf16"]
    evaluation: str
    compiled: bool
    threads: int
    folder: Path

    @property
    def name(self) -> str:
        """Fold and number as they stand in paths, `A-003`."""
        return trial_name(self.fold, self.number)


def trial_name(fold: str, number: int) -> str:
    """The name of a trial in paths and on the board: the fold's, escaped, and three digits."""
    return f"{path_part(fold)}-{number:03d}"


def ended_as(task: TrialTask, status: Literal["finished", "stopped", "failed"], **values: Any) -> TrialResult:
    """The result of a trial that ended so."""
    return TrialResult(fold=task.fold, number=task.number, settings=task.settings, status=status, **values)


def stopped_result(task: TrialTask) -> TrialResult:
    """The result of a trial that the scheduler stopped: its best epoch so far."""
    history = read_history(task.folder)
    best = min(history, key=lambda entry: to_minimise(entry, task.select))
    return ended_as(
        task,
        "stopped",
        validation_mse=best["validation_mse"],
        validation_pcc=best["validation_pcc"],
        epochs=len(history),
        best_epoch=int(best["epoch"]),
        seconds=history[-1]["seconds"],
    )


def run_apart(task: TrialTask) -> Generator[tuple[str, dict[str, Any]], None, None]:
    """Train a trial in a process of its own; yields ("began" | "epoch" | "finished" | "failed" | "stop", values).

    "stop" is what ends the sweep: a full disk, damaged files, a configuration that cannot be. Closing the iterator
    ends the process; one that dies raises `ProcessDied`.
    """
    return events(_trial, task.model_dump_json())


def _trial(task_json: str, send: Send) -> None:
    """In the trial's process."""
    os.environ.pop("QBENCH_DATA", None)  # a trial has no business with the data folder
    task = TrialTask.model_validate_json(task_json)
    try:
        send("finished", _train(task, send))
    except Exception as error:  # noqa: BLE001 - a method's failure is the trial's result; the rest ends the sweep
        kind = "failed" if isinstance(error, MethodError) or not isinstance(error, QbenchError | OSError) else "stop"
        message = f"{type(error).__name__}: {error}" if not isinstance(error, QbenchError) else str(error)
        code = error.exit_code if isinstance(error, QbenchError) and kind == "stop" else 1
        if disk_full(error):
            kind, code = "stop", 1
            message = (
                f"The disk is full, trial {task.name} cannot keep its checkpoint; free some space and run the same command "
                "again, it goes on from here."
            )
        send(kind, {"message": message, "exit_code": code, "traceback": traceback.format_exc()})


def _train(task: TrialTask, send: Send) -> dict[str, Any]:
    from ...methods.registry import parse

    set_threads(task.threads)
    load_plugins(task.plugins)
    method = parse(task.method, task.profile).build()
    train, validation = open_view(task.view)
    work = task.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    reporting = 0.0

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> bool:
        nonlocal reporting
        before = time.perf_counter()
        seconds = before - start - reporting
        send("epoch", {"epoch": epoch, "seconds": seconds, **{k: float(v) for k, v in metrics.items()}})
        reporting += time.perf_counter() - before
        return False

    context = FitContext(
        seed=task.seed,
        device=resolve_device(task.device),
        precision=task.precision,
        evaluation=task.evaluation,
        compiled=task.compiled,
        threads=task.threads,
        directory=work,
        select=task.select,
        max_epochs=task.max_epochs,
        backbone=task.backbone,
        on_epoch=on_epoch,
    )
    send("began", {"at": time.time()})
    start = time.perf_counter()
    fit(method, train, validation, context)
    seconds = time.perf_counter() - start - reporting
    predicted = np.concatenate([predict(method, section, clamped=False) for section in validation.sections])
    return {
        **validation_scores(predicted, validation.target, validation.boundaries),
        "epochs": len(context.history),
        "best_epoch": context.selected_epoch,
        "seconds": seconds,
    }

"""The search itself: Ray Tune runs the trials of all folds; what has ended or was reported before is replayed, not run.

Imported only once Ray is wanted. Every trial keeps its history and checkpoint in the sweep's own folder, so nothing
depends on the state files of Tune: a new process runs the same trials, and each goes on where it was.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.stopper import Stopper

from ...errors import QbenchError
from ...methods.selection import to_minimise
from ..engine.ray_session import adopt
from .board import Board
from .state import Times
from .trial import (
    TrialResult,
    TrialTask,
    append_history,
    disk_full,
    read_history,
    read_result,
    run_apart,
    write_history,
    write_result,
)

RESTARTS = 3  # of a trial whose worker or process dies; it goes on from its checkpoint
REDUCTION = 3  # ASHA keeps the best third at each rung


@dataclass
class Problem:
    """What ends the whole search."""

    message: str = ""
    exit_code: int = 1


def run_trial(config: Mapping[str, Any], tasks: Sequence[TrialTask], environment: Mapping[str, str]) -> None:
    """The function that Tune runs in an actor: replay what is known of a trial, train the rest, report every epoch."""
    import sys

    adopt(environment)
    vars(sys.modules["__main__"]).pop("__file__", None)  # else every trial's process would import Ray's worker script
    task = tasks[config["trial"]]
    history = read_history(task.folder)
    done = read_result(task.folder)
    best: float | None = None

    def report(entry: Mapping[str, float], **more: Any) -> None:
        nonlocal best
        if f"validation_{task.select}" in entry:
            value = to_minimise(dict(entry), task.select)
            best = value if best is None else min(best, value)
        tune.report({"trial": config["trial"], "epoch": int(entry["epoch"]), "figure": best, **more})

    for entry in history:
        report(entry, replayed=True)
    if done is not None:
        best = done.figure(task.select)
        tune.report({"trial": config["trial"], "epoch": done.epochs, "figure": best, "ended": True, "replayed": True})
        return
    try:
        task.folder.mkdir(parents=True, exist_ok=True)
        write_history(task.folder, history)  # without a line that a kill cut short
        _train(task, history, report)
    except OSError as error:
        if not disk_full(error):
            raise
        message = (
            f"The disk is full ({task.folder}); free some space and run the same command again, it goes on from here."
        )
        tune.report({"trial": config["trial"], "epoch": 0, "problem": message, "exit_code": 1})


def _train(task: TrialTask, history: list[dict[str, float]], report: Callable[..., None]) -> None:
    before = history[-1]["seconds"] if history else 0.0
    spent, resumed_at = 0.0, None
    events = run_apart(task)
    last: dict[str, float] = {"epoch": 0.0}
    try:
        for kind, values in events:
            if kind == "began":
                report(last, began=values["at"], seconds=0.0)
            elif kind == "epoch":
                spent = values["seconds"]
                last = {**values, "seconds": before + spent}
                if resumed_at is None:
                    resumed_at = int(values["epoch"])
                if values["epoch"] > len(history):
                    append_history(task.folder, last)
                    report(last, seconds=spent)
            elif kind == "finished":
                result = {k: values[k] for k in ("validation_mse", "validation_pcc", "epochs", "best_epoch")}
                ended = _result(task, "finished", seconds=before + values["seconds"], **result)
                write_result(task.folder, ended)
                report({**last, **result, "epoch": ended.epochs}, seconds=values["seconds"], ended=True)
            elif kind == "failed":
                ended = _result(
                    task, "failed", message=values["message"], epochs=int(last["epoch"]), seconds=before + spent
                )
                write_result(task.folder, ended)
                report(last, seconds=spent, ended=True, failed=True)
            else:
                report(last, problem=values["message"], exit_code=values["exit_code"])
    finally:
        events.close()


def _result(task: TrialTask, status: Literal["finished", "stopped", "failed"], **values: Any) -> TrialResult:
    return TrialResult(fold=task.fold, number=task.number, settings=task.settings, status=status, **values)


def stopped_result(task: TrialTask) -> TrialResult:
    """The result of a trial that the scheduler stopped: its best epoch so far."""
    history = read_history(task.folder)
    best = min(history, key=lambda entry: to_minimise(entry, task.select))
    return _result(
        task,
        "stopped",
        validation_mse=best["validation_mse"],
        validation_pcc=best["validation_pcc"],
        epochs=len(history),
        best_epoch=int(best["epoch"]),
        seconds=history[-1]["seconds"],
    )


class PerFold(FIFOScheduler):
    """First come, first served; with `asha` weak trials are stopped, each held against those of its own fold alone.

    That is after a ninth and after a third of the epochs: a trial that trains on from there comes to its own end.
    """

    def __init__(
        self, tasks: Sequence[TrialTask], asha: bool, most_epochs: int, on_stop: Callable[[TrialTask], None]
    ) -> None:
        super().__init__()
        self._tasks, self._on_stop = tasks, _Here(on_stop)
        first = max(1, most_epochs // REDUCTION**2)
        self._last_rung = min(first * REDUCTION, most_epochs - 1)  # ASHA has more rungs, up to the last epoch
        self._by_fold: dict[str, AsyncHyperBandScheduler] = {}
        for fold in dict.fromkeys(task.fold for task in tasks) if asha else ():
            self._by_fold[fold] = AsyncHyperBandScheduler(
                time_attr="epoch",
                metric="figure",
                mode="min",
                max_t=most_epochs + 1,  # the last epoch is the trial's own end
                grace_period=first,
                reduction_factor=REDUCTION,
            )

    def _of(self, trial: Any) -> AsyncHyperBandScheduler | None:
        return self._by_fold.get(self._tasks[trial.config["trial"]].fold)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if (scheduler := self._of(trial)) is not None:
            scheduler.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        scheduler = self._of(trial)
        if scheduler is None or result.get("figure") is None or result.get("ended") or "problem" in result:
            return str(TrialScheduler.CONTINUE)
        if result["epoch"] > self._last_rung:
            return str(TrialScheduler.CONTINUE)
        decision = str(scheduler.on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP:
            self._on_stop.value(self._tasks[trial.config["trial"]])
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if (scheduler := self._of(trial)) is not None and result.get("figure") is not None:
            scheduler.on_trial_complete(tune_controller, trial, result)


class _Here:
    """Something of this process alone; Tune writes copies of what it is given to disk, which need none of it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[type[_Here], tuple[None]]:
        return _Here, (None,)


class StopOnProblem(Stopper):
    """Ends the search when a trial reports what no other trial can do without."""

    def __init__(self) -> None:
        self.problem: Problem | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if "problem" in result:
            self.problem = Problem(result["problem"], result["exit_code"])
        return "problem" in result

    def stop_all(self) -> bool:
        return self.problem is not None


class _Watch(tune.Callback):
    """Passes what Tune learns on to the board, and keeps the clock."""

    def __init__(self, tasks: Sequence[TrialTask], board: Board) -> None:
        self.tasks, self.board = tasks, _Here(board)
        self.began: float | None = None
        self.seconds: dict[int, float] = {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        task = self.tasks[result["trial"]]
        if "began" in result and self.began is None:
            self.began = result["began"]
        if not result.get("replayed"):
            self.seconds[result["trial"]] = max(self.seconds.get(result["trial"], 0.0), result.get("seconds", 0.0))
        figure = result.get("figure")
        shown = -figure if figure is not None and task.select == "pcc" else figure
        if result.get("ended"):
            ended = read_result(task.folder)
            if ended is not None:
                self.board.value.done(ended)
        elif "problem" not in result:
            self.board.value.epoch(task.fold, task.number, result["epoch"], shown)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        task = self.tasks[trial.config["trial"]]
        self.board.value.note(f"Trial {task.name} lost its worker; it goes on from its checkpoint.")


def search(
    tasks: Sequence[TrialTask],
    board: Board,
    environment: Mapping[str, str],
    *,
    asha: bool,
    most_epochs: int,
    cpus: float,
    gpus: float,
    concurrent: int,
) -> Times:
    """Run all trials to their end; their results lie in their folders. The times are those of this search alone.

    Raises:
        QbenchError: a full disk or damaged data; finished trials and checkpoints are kept.
    """
    stopper = StopOnProblem()
    watch = _Watch(tasks, board)

    def on_stop(task: TrialTask) -> None:
        if read_result(task.folder) is None:
            write_result(task.folder, stopped_result(task))
        ended = read_result(task.folder)
        if ended is not None:
            board.done(ended)

    os.environ |= {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    }
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    for name in ("ray", "ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, tasks=list(tasks), environment=dict(environment)), {"cpu": cpus, "gpu": gpus}
    )
    called = time.time()
    with tempfile.TemporaryDirectory(prefix="qbench-tune-") as scratch:
        tune.Tuner(
            trainable,
            param_space={"trial": tune.grid_search(list(range(len(tasks))))},
            tune_config=tune.TuneConfig(
                scheduler=PerFold(tasks, asha, most_epochs, on_stop),
                reuse_actors=True,
                max_concurrent_trials=concurrent,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                verbose=0,
                callbacks=[watch],
                stop=stopper,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
    if stopper.problem is not None:
        error = QbenchError(stopper.problem.message)
        error.exit_code = stopper.problem.exit_code
        raise error
    began = called if watch.began is None else watch.began
    spent = time.time() - began
    return Times(start=began - called, search=spent, training=sum(watch.seconds.values()), capacity=spent * concurrent)

"""The search itself: Ray Tune runs the trials of all folds; what has ended or was reported before is replayed, not run.

Imported only once Ray is wanted. Every trial keeps its history and checkpoint in the sweep's own folder, so nothing
depends on the state files of Tune: a new process runs the same trials, and each goes on where it was.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.stopper import Stopper
from typing_extensions import override

from ...errors import QbenchError
from .actor import run_trial
from .board import Board
from .scheduler import Here, PerFold
from .state import Times
from .trial import TrialTask, stopped_result
from .trial_files import read_result, write_result

RESTARTS = 3  # of a trial whose worker or process dies; it goes on from its checkpoint


@dataclass
class Problem:
    """What ends the whole search."""

    message: str = ""
    exit_code: int = 1


class StopOnProblem(Stopper):
    """Ends the search when a trial reports what no other trial can do without."""

    def __init__(self) -> None:
        self.problem: Problem | None = None

    @override
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        if "problem" in result:
            self.problem = Problem(result["problem"], result["exit_code"])
        return "problem" in result

    @override
    def stop_all(self) -> bool:
        return self.problem is not None


class _Watch(tune.Callback):
    """Passes what Tune learns on to the board, and keeps the clock."""

    def __init__(self, tasks: Sequence[TrialTask], board: Board) -> None:
        self.tasks, self.board = tasks, Here(board)
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

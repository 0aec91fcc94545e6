"""What Ray Tune runs in its actors: a trial whose known epochs are replayed and whose other ones are trained.

Imported only once Ray is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune

from ...files import disk_full
from ...methods.selection import to_minimise
from ..engine.ray_session import adopt
from .trial import TrialTask, ended_as, run_apart
from .trial_files import append_history, read_history, read_result, write_history, write_result


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
                ended = ended_as(task, "finished", seconds=before + values["seconds"], **result)
                write_result(task.folder, ended)
                report({**last, **result, "epoch": ended.epochs}, seconds=values["seconds"], ended=True)
            elif kind == "failed":
                ended = ended_as(
                    task, "failed", message=values["message"], epochs=int(last["epoch"]), seconds=before + spent
                )
                write_result(task.folder, ended)
                report(last, seconds=spent, ended=True, failed=True)
            else:
                report(last, problem=values["message"], exit_code=values["exit_code"])
    finally:
        events.close()

"""After the search: the choice of each fold, and the cells that train and score it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...datasets.hashing import canonical_hash
from ...errors import QbenchError
from ..engine.plan import Plan
from ..engine.resolve import ResolvedMethod
from ..engine.task import CellTask
from .space import Settings, point
from .state import Sweep
from .trial_files import TrialResult


def choose(sweep: Sweep) -> dict[str, TrialResult]:
    """The best trial of each fold that ran to its own end, by the validation figure; ties go to the first.

    Raises:
        QbenchError: a fold without any.
    """
    chosen = {}
    for fold in sweep.folds:
        own = [result for result in sweep.results if result.fold == fold]
        ended = [
            (f, r.number, r)
            for r in own
            if r.status == "finished" and (f := r.figure(sweep.options.select)) is not None
        ]
        if not ended:
            why = next((result.message for result in own if result.message), "all were stopped")
            error = QbenchError(f"No trial of fold {fold} came to an end, so there is nothing to choose: {why}")
            error.exit_code = 1
            raise error
        chosen[fold] = min(ended)[2]
    return chosen


def final_plan(sweep: Sweep, plan: Plan, own: ResolvedMethod, workers: int | None) -> Plan:
    """The cells of the chosen configurations, all seeds, and those of the untuned method beside them."""
    folds = {fold.name: fold for fold in plan.ground.settled.folds}
    methods = {own.spec.label: own}
    tasks: list[CellTask] = []
    for fold, result in sweep.chosen.items():
        tuned = plan.ground.resolve(point(sweep.base, result.settings).label)
        methods[tuned.spec.label] = tuned
        tasks += [_marked(task, sweep) for task in plan.ground.tasks(tuned, [folds[fold]])]
    cells = [*plan.cells, *plan.ground.looked_up(tasks)]
    threads = {"threads": 1} if workers or sweep.options.ray_address else {}
    cells = [replace(cell, task=cell.task.model_copy(update=threads)) for cell in cells]
    options = sweep.options.model_copy(update={"workers": workers})
    return replace(plan, options=options, methods=tuple(methods.values()), cells=tuple(cells), notes=())


def _marked(task: CellTask, sweep: Sweep) -> CellTask:
    """The cell of a chosen configuration: known as such, for a number that was tuned is no other one."""
    mark = {"trials": len(sweep.points), "search": sweep.key}
    identity = {**task.identity, "tuned": mark}
    chosen = chosen_values(sweep, task.identity["parameters"])
    changes = {
        "identity": identity,
        "cell": canonical_hash(identity),
        "tuned": {"method": sweep.base.label, **mark, "chosen": chosen},
    }
    return task.model_copy(update=changes)


def chosen_values(sweep: Sweep, parameters: Mapping[str, Any]) -> Settings:
    """The searched parameters with the values that were chosen."""
    return {name: parameters[name] for name in sweep.space.parameters}

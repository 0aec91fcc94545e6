"""After the search: the choice of each fold, and the cells that train and score it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...datasets.hashing import canonical_hash
from ...errors import QbenchError
from ..engine.plan import Plan, make_plan, plan_cell
from ..engine.resolve import ResolvedMethod
from .space import Settings, point
from .state import Sweep
from .trial import TrialResult


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
    cells = list(plan.cells)
    methods = {own.spec.label: own}
    for fold, result in sweep.chosen.items():
        label = point(sweep.base, result.settings).label
        tuned = make_plan(sweep.options.model_copy(update={"methods": (label,)}))
        methods |= {method.spec.label: method for method in tuned.methods}
        mark = {"trials": len(sweep.points), "search": sweep.key}
        for cell in tuned.cells:
            if cell.task.fold.name != fold:
                continue
            identity = {**cell.task.identity, "tuned": mark}
            changes = {
                "identity": identity,
                "cell": canonical_hash(identity),
                "tuned": {
                    "method": sweep.base.label,
                    **mark,
                    "chosen": chosen_values(sweep, cell.task.identity["parameters"]),
                },
            }
            cells.append(plan_cell(cell.task.model_copy(update=changes)))
    threads = {"threads": 1} if workers or sweep.options.ray_address else {}
    cells = [replace(cell, task=cell.task.model_copy(update=threads)) for cell in cells]
    options = sweep.options.model_copy(update={"workers": workers})
    return replace(plan, options=options, methods=tuple(methods.values()), cells=tuple(cells), notes=())


def chosen_values(sweep: Sweep, parameters: Mapping[str, Any]) -> Settings:
    """The searched parameters with the values that were chosen."""
    return {name: parameters[name] for name in sweep.space.parameters}

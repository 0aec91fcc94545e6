"""The cells after a search: each fold's choice on that fold alone, marked as tuned, beside the untuned ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from qbench.benchmark.engine import plan as plans
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.settings import RunSettings
from qbench.benchmark.sweep.final import final_plan
from qbench.benchmark.sweep.trial_files import TrialResult
from qbench.methods.registry import parse

from ...support.tiny_her2st import make


def test_only_the_fold_of_each_choice_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = RunSettings(
        methods=("ridge",), dataset="her2st", data_dir=make(tmp_path / "tiny"), seeds=(0,), out=tmp_path / "runs"
    )
    plan = make_plan(options)
    folds = [fold.name for fold in plan.ground.settled.folds]
    chosen = {
        fold: TrialResult(fold=fold, number=i, settings={"alpha": 10.0**i}, status="finished")
        for i, fold in enumerate(folds)
    }
    sweep: Any = SimpleNamespace(
        base=parse("ridge"),
        options=options,
        points=[{}] * 4,
        key="k",
        chosen=chosen,
        space=SimpleNamespace(parameters=("alpha",)),
    )
    planned: list[tuple[str, str]] = []
    task = plans.Ground.task

    def counted(self: plans.Ground, resolved: Any, fold: Any, seed: int) -> Any:
        planned.append((resolved.spec.label, fold.name))
        return task(self, resolved, fold, seed)

    monkeypatch.setattr(plans.Ground, "task", counted)
    final = final_plan(sweep, plan, plan.methods[0], None)

    assert [fold for _, fold in planned] == folds, "a cell a fold, not all folds a fold"
    tuned = [cell.task for cell in final.cells if cell.task.tuned is not None]
    assert [cell.task for cell in final.cells if cell.task.tuned is None] == [cell.task for cell in plan.cells]
    assert {t.fold.name: t.identity["parameters"]["alpha"] for t in tuned} == {
        fold: 10.0**i for i, fold in enumerate(folds)
    }
    assert all(t.identity["tuned"] == {"trials": 4, "search": "k"} for t in tuned)
    assert {t.cell for t in tuned}.isdisjoint(cell.task.cell for cell in plan.cells)

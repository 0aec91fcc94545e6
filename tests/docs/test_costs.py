"""docs/performance.md has the seconds and memory of the committed cells; `python .ci/costs.py` brings it up to date."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from qbench.leaderboard.committed import read_committed

from ..support.places import ROOT


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("costs", ROOT / ".ci" / "costs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_of_the_committed_cells(costs: ModuleType) -> None:
    text, records = costs.PAGE.read_text(encoding="utf-8"), read_committed(ROOT / "leaderboard" / "results")
    assert costs.page(text, records) == text, "run python .ci/costs.py"
    (row,) = (line for line in text.splitlines() if line.startswith("| `ridge` |"))
    of_ridge = [r for r in records if r.method.label == "ridge" and r.protocol.dataset == "demo"]
    assert float(row.split(" | ")[1]) == round(min(r.fit_seconds for r in of_ridge), 1)
    assert float(row.split(" | ")[4]) == round(max(r.peak_memory_mb for r in of_ridge))

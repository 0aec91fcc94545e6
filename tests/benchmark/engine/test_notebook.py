"""Bars of a run in a notebook, and that nothing else is taken for one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from qbench.benchmark.engine import notebook
from qbench.benchmark.engine.notebook import Notebook, in_notebook


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    def shell(name: str | None) -> Any:
        made = None if name is None else type(name, (), {})()
        return SimpleNamespace(get_ipython=lambda: made)

    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for name, expected in (("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False), (None, False)):
        monkeypatch.setitem(sys.modules, "IPython", shell(name))
        assert in_notebook() is expected


def test_bars_count_what_is_through_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Kept(notebook.tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named, mininterval=0)
            bars.append(self)

    monkeypatch.setattr(notebook, "tqdm", Kept)
    task: Any = SimpleNamespace(title="qca", fold=SimpleNamespace(name="A"), seed=0)
    told = Notebook()
    told.start(4, 1)
    told.preparing("A1 rgb", 16, 101)
    told.preparing("sections", 1, 2)
    assert bars[1].postfix == "A1 rgb: 16 of 101 patches"
    assert (bars[1].n, bars[1].total) == (1, 2)
    told.preparing("sections", 2, 2)
    told.cell_started(task, "")
    told.cell_event(task, "epoch", {"epoch": 3})
    assert bars[0].postfix == "qca · fold A · seed 0 · epoch 3"
    told.cell_done(task, SimpleNamespace(status="done"))  # type: ignore[arg-type]
    assert (bars[0].n, bars[0].total) == (2, 4)
    told.finish()
    assert all(bar.disable for bar in bars)  # closed


def test_a_run_that_is_done_shows_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    told = Notebook()
    told.start(4, 4)
    told.finish()
    assert capsys.readouterr() == ("", "")

"""What a person sees of a run in a notebook: a tqdm bar over what is prepared and one over the cells."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from tqdm.auto import tqdm
from typing_extensions import override

from ...leaderboard.record import Record
from ...names import shown
from .reporter import Quiet
from .task import CellTask


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel: not a script, a terminal's IPython, or a pipe."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Notebook(Quiet):
    """Bars that a notebook draws, as widgets where ipywidgets is there; taken down when the run is over."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True, highlight=False))
        self._cells: Any = None
        self._preparing: Any = None

    @override
    def note(self, text: str) -> None:
        tqdm.write(shown(text), file=sys.stderr)

    @override
    def start(self, cells: int, done: int) -> None:
        if done < cells:
            self._cells = tqdm(total=cells, initial=done, desc="cells", unit="cell", leave=False)

    @override
    def preparing(self, what: str, done: int, total: int) -> None:
        if self._preparing is None:
            self._preparing = tqdm(desc="preparing", unit="section", leave=False)
        if what != "sections":
            self._preparing.set_postfix_str(f"{what}: {done} of {total} patches")
            return
        self._preparing.total = total
        self._preparing.update(done - self._preparing.n)
        if done == total:
            self._preparing.close()
            self._preparing = None

    @override
    def cell_started(self, task: CellTask, reason: str) -> None:
        self._detail(f"{task.title} · fold {task.fold.name} · seed {task.seed}")

    @override
    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        doing = f"epoch {values['epoch']}" if kind == "epoch" else str(values.get("stage", kind))
        self._detail(f"{task.title} · fold {task.fold.name} · seed {task.seed} · {doing}")

    @override
    def cell_done(self, task: CellTask, record: Record) -> None:
        super().cell_done(task, record)
        if self._cells is not None:
            self._cells.update()

    @override
    def finish(self) -> None:
        for bar in (self._preparing, self._cells):
            if bar is not None:
                bar.close()

    def _detail(self, text: str) -> None:
        if self._cells is not None:
            self._cells.set_postfix_str(text)

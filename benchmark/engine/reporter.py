"""What a person sees while a run goes on: a live display on a terminal, plain lines in a pipe, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from typing_extensions import override

from ...leaderboard.record import Record
from ...names import shown
from .task import CellTask


class Reporter(Protocol):
    """Told what happens; decides what to show."""

    def note(self, text: str) -> None:
        """Something worth a line that belongs to no cell."""

    def start(self, cells: int, done: int) -> None:
        """The run begins: `cells` in all, of which `done` were stored before."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Inputs are being made: `done` of `total` units of `what`; "sections" counts sections, all else patches."""

    def cell_started(self, task: CellTask, reason: str) -> None:
        """A cell begins; `reason` says why it is run (again)."""

    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        """A cell tells an epoch's figures (`kind` "epoch") or the stage that it has reached."""

    def cell_done(self, task: CellTask, record: Record) -> None:
        """A cell is stored, finished or failed as its record says."""

    def finish(self) -> None:
        """The run is over; the display is taken down."""


def make_reporter(quiet: bool, verbose: bool) -> Reporter:
    """The reporter for standard error as it is now."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        return Quiet(console)
    return Live(console) if console.is_terminal else Plain(console, verbose)


def summary(task: CellTask, record: Record) -> str:
    """One line about a finished cell."""
    where = f"{task.title} · fold {task.fold.name} · seed {task.seed}"
    if record.status == "failed":
        return shown(f"{where}: FAILED: {record.failure.message if record.failure else 'no reason recorded'}")
    values = [section.get("pcc_hvg") for section in record.scores.values()]
    known = [value for value in values if value is not None]
    figure = f"HVG {sum(known) / len(known):.3f}, " if known else ""
    epochs = f", {record.epochs} epochs" if record.epochs else ""
    return f"{where}: {figure}{record.fit_seconds + record.predict_seconds:.1f} s{epochs}"


class Quiet(Reporter):
    """Says only what went wrong."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @override
    def note(self, text: str) -> None:
        pass

    @override
    def start(self, cells: int, done: int) -> None:
        pass

    @override
    def preparing(self, what: str, done: int, total: int) -> None:
        pass

    @override
    def cell_started(self, task: CellTask, reason: str) -> None:
        pass

    @override
    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        pass

    @override
    def cell_done(self, task: CellTask, record: Record) -> None:
        if record.status == "failed":
            self._console.print(summary(task, record), markup=False)

    @override
    def finish(self) -> None:
        pass


class Plain(Quiet):
    """A line for each thing that happens, fit for a log."""

    def __init__(self, console: Console, verbose: bool) -> None:
        super().__init__(console)
        self._verbose = verbose
        self._total = 0
        self._done = 0
        self._prepared = -1.0

    @override
    def note(self, text: str) -> None:
        self._console.print(shown(text), markup=False, soft_wrap=True)

    @override
    def start(self, cells: int, done: int) -> None:
        self._total, self._done = cells, done
        self.note(f"{cells} cells, {done} done before, {cells - done} to run")

    @override
    def preparing(self, what: str, done: int, total: int) -> None:
        # A line every few seconds is enough for a log.
        if what != "sections" and time.monotonic() - self._prepared > 5:
            self._prepared = time.monotonic()
            self.note(f"preparing {what}: {done} of {total}")

    @override
    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        if self._verbose and kind == "epoch":
            figures = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if k != "epoch")
            self.note(f"  {task.title} fold {task.fold.name} epoch {values['epoch']}: {figures}")

    @override
    def cell_done(self, task: CellTask, record: Record) -> None:
        self._done += 1
        self.note(f"[{self._done}/{self._total}] {summary(task, record)}")


class Live(Quiet):
    """A progress bar over the cells with what the current one is doing, redrawn several times a second."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
            transient=True,
        )
        self._cells: TaskID | None = None
        self._preparing: TaskID | None = None

    @override
    def note(self, text: str) -> None:
        self._progress.console.print(shown(text), markup=False)

    @override
    def start(self, cells: int, done: int) -> None:
        if done < cells:
            self._progress.start()
            self._cells = self._progress.add_task("cells", total=cells, completed=done, detail="starting")

    @override
    def preparing(self, what: str, done: int, total: int) -> None:
        if self._preparing is None:
            self._preparing = self._progress.add_task("preparing", total=total, detail="")
        if what == "sections":
            self._progress.update(self._preparing, completed=done, total=total)
            if done == total:
                self._progress.remove_task(self._preparing)
                self._preparing = None
        else:
            self._progress.update(self._preparing, detail=f"{what}: {done} of {total} patches")

    @override
    def cell_started(self, task: CellTask, reason: str) -> None:
        self._detail(f"{task.title} · fold {task.fold.name} · seed {task.seed} · loading")

    @override
    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        where = f"{task.title} · fold {task.fold.name} · seed {task.seed}"
        if kind == "epoch":
            loss = values.get("validation_mse")
            self._detail(
                f"{where} · epoch {values['epoch']}" + ("" if loss is None else f" · validation MSE {loss:.4f}")
            )
        else:
            self._detail(f"{where} · {values.get('stage', kind)}")

    @override
    def cell_done(self, task: CellTask, record: Record) -> None:
        self.note(summary(task, record))
        if self._cells is not None:
            self._progress.advance(self._cells)

    @override
    def finish(self) -> None:
        self._progress.stop()

    def _detail(self, text: str) -> None:
        if self._cells is not None:
            self._progress.update(self._cells, detail=text)

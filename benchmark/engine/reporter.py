"""What a person sees while a run goes on: a live display on a terminal, plain lines in a pipe, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ...leaderboard.record import Record
from ...names import shown
from .task import CellTask


class Reporter(Protocol):
    """Told what happens; decides what to show."""

    def note(self, text: str) -> None: ...
    def start(self, cells: int, done: int) -> None: ...
    def preparing(self, what: str, done: int, total: int) -> None: ...
    def cell_started(self, task: CellTask, reason: str) -> None: ...
    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None: ...
    def cell_done(self, task: CellTask, record: Record) -> None: ...
    def finish(self) -> None: ...


def make_reporter(quiet: bool, verbose: bool) -> Reporter:
    """The reporter for standard error as it is now."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        return Quiet(console)
    return Live(console) if console.is_terminal else Plain(console, verbose)


def summary(task: CellTask, record: Record) -> str:
    """One line about a finished cell."""
    where = f"{task.method} · fold {task.fold.name} · seed {task.seed}"
    if record.status == "failed":
        return shown(f"{where}: FAILED: {record.failure.message if record.failure else 'no reason recorded'}")
    values = [section.get("pcc_hvg") for section in record.scores.values()]
    known = [value for value in values if value is not None]
    figure = f"HVG {sum(known) / len(known):.3f}, " if known else ""
    epochs = f", {record.epochs} epochs" if record.epochs else ""
    return f"{where}: {figure}{record.fit_seconds + record.predict_seconds:.1f} s{epochs}"


class Quiet:
    """Says only what went wrong."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        pass

    def start(self, cells: int, done: int) -> None:
        pass

    def preparing(self, what: str, done: int, total: int) -> None:
        pass

    def cell_started(self, task: CellTask, reason: str) -> None:
        pass

    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        pass

    def cell_done(self, task: CellTask, record: Record) -> None:
        if record.status == "failed":
            self._console.print(summary(task, record), markup=False)

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

    def note(self, text: str) -> None:
        self._console.print(shown(text), markup=False, soft_wrap=True)

    def start(self, cells: int, done: int) -> None:
        self._total, self._done = cells, done
        self.note(f"{cells} cells, {done} done before, {cells - done} to run")

    def preparing(self, what: str, done: int, total: int) -> None:
        # A line every few seconds is enough for a log.
        if what != "sections" and time.monotonic() - self._prepared > 5:
            self._prepared = time.monotonic()
            self.note(f"preparing {what}: {done} of {total}")

    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        if self._verbose and kind == "epoch":
            figures = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if k != "epoch")
            self.note(f"  {task.method} fold {task.fold.name} epoch {values['epoch']}: {figures}")

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

    def note(self, text: str) -> None:
        self._progress.console.print(shown(text), markup=False)

    def start(self, cells: int, done: int) -> None:
        if done < cells:
            self._progress.start()
            self._cells = self._progress.add_task("cells", total=cells, completed=done, detail="starting")

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

    def cell_started(self, task: CellTask, reason: str) -> None:
        self._detail(f"{task.method} · fold {task.fold.name} · seed {task.seed} · loading")

    def cell_event(self, task: CellTask, kind: str, values: Mapping[str, Any]) -> None:
        where = f"{task.method} · fold {task.fold.name} · seed {task.seed}"
        if kind == "epoch":
            loss = values.get("validation_mse")
            self._detail(
                f"{where} · epoch {values['epoch']}" + ("" if loss is None else f" · validation MSE {loss:.4f}")
            )
        else:
            self._detail(f"{where} · {values.get('stage', kind)}")

    def cell_done(self, task: CellTask, record: Record) -> None:
        self.note(summary(task, record))
        if self._cells is not None:
            self._progress.advance(self._cells)

    def finish(self) -> None:
        self._progress.stop()

    def _detail(self, text: str) -> None:
        if self._cells is not None:
            self._progress.update(self._cells, detail=text)

"""Progress of a single command: bars on a terminal, a line every few seconds elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY = 5.0  # seconds between lines where there is no terminal


class Bars:
    """Called with (what, done, total), as every long function reports; use it as a context."""

    def __init__(self, quiet: bool, bytes_of_files: bool = False) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._quiet = quiet
        self._bytes = bytes_of_files
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Bars:
        if not self._quiet and self._console.is_terminal:
            from rich.progress import (
                BarColumn,
                Progress,
                SpinnerColumn,
                TaskProgressColumn,
                TextColumn,
                TimeRemainingColumn,
            )

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            self._bars = Progress(*columns, console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` units (bytes where files are fetched) of `what` are through; a new `what` opens a bar."""
        if self._bars is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total)
            self._bars.update(self._tasks[what], completed=done, total=total)
            if done >= total and what != "files":
                self._bars.remove_task(self._tasks.pop(what))
        elif not self._quiet and time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            amount = (
                f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if self._bytes and what != "files" else f"{done} of {total}"
            )
            self._console.print(f"{what}: {amount}", markup=False)

"""What a person sees of a search: a live table of trials on a terminal, a line a trial in a pipe, nothing when quiet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...methods.dashes import dashed
from .space import Settings
from .trial_files import TrialResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROWS = 12  # trials shown at once on a terminal


@dataclass
class Line:
    """A trial as shown: its fold and number, settings, epoch, best validation figure so far, and what it is doing."""

    fold: str
    number: int
    settings: Settings
    state: str = "waiting"
    epoch: int = 0
    figure: float | None = None
    changed: float = 0.0


def in_words(settings: Settings) -> str:
    """`alpha=0.5 fsq_levels=8-5-5-5`."""
    return " ".join(f"{name}={dashed(value)}" for name, value in settings.items())


class Board:
    """Told what the trials do; shows it. `select` is the figure that trials are judged by: "mse" or "pcc"."""

    def __init__(
        self, console: Console, lines: Sequence[Line], select: str, quiet: bool = False, verbose: bool = False
    ) -> None:
        self._console, self._quiet, self._verbose = console, quiet, verbose
        self._lines = {(line.fold, line.number): line for line in lines}
        self._done: set[tuple[str, int]] = set()
        self._select = select
        self._started = time.monotonic()
        self._live: Any = None

    def __enter__(self) -> Board:
        if self._console.is_terminal and not self._quiet:
            from rich.live import Live

            self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Print a line above the display; nothing when quiet."""
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    def epoch(self, fold: str, number: int, epoch: int, figure: float | None) -> None:
        """A trial trained an epoch; `figure` is its validation figure, None where the method reports none."""
        line = self._lines[fold, number]
        line.state, line.epoch, line.figure, line.changed = "training", epoch, figure, time.monotonic()
        if self._verbose and self._live is None:
            self.note(f"  trial {fold}-{number:03d} epoch {epoch}: {self._shown(figure)}")

    def done(self, result: TrialResult) -> None:
        """A trial ended; told twice about one, shows it once."""
        key = (result.fold, result.number)
        line = self._lines[key]
        line.state, line.epoch, line.changed = result.status, result.epochs, time.monotonic()
        line.figure = result.validation_mse if self._select == "mse" else result.validation_pcc
        if key in self._done:
            return
        self._done.add(key)
        if self._live is None or result.status == "failed":
            why = (
                f": {result.message}"
                if result.status == "failed"
                else f", {self._shown(line.figure)}, {result.epochs} epochs"
            )
            self.note(
                f"[{len(self._done)}/{len(self._lines)}] fold {result.fold} trial {result.number} {result.status}{why}, "
                f"{result.seconds:.1f} s · {in_words(result.settings)}"
            )

    def _shown(self, figure: float | None) -> str:
        name = "MSE" if self._select == "mse" else "PCC"
        return f"validation {name} " + ("–" if figure is None else f"{figure:.4f}")

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        seconds = time.monotonic() - self._started
        title = f"{len(self._done)} of {len(self._lines)} trials · {int(seconds // 60)}:{int(seconds % 60):02d}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for header in ("fold", "trial", "state", "epoch", f"validation {self._select.upper()}", "settings"):
            table.add_column(header, no_wrap=True)
        lines = list(self._lines.values())
        running = [line for line in lines if line.state == "training"]
        ended = sorted(
            (line for line in lines if line.state not in {"training", "waiting"}), key=lambda line: -line.changed
        )
        for line in [*running, *ended][:ROWS]:
            figure = "–" if line.figure is None else f"{line.figure:.4f}"
            style = "bold" if line.state == "training" else "red" if line.state == "failed" else "dim"
            cells = (line.fold, str(line.number), line.state, str(line.epoch), figure, in_words(line.settings))
            table.add_row(*(Text(cell) for cell in cells), style=style)
        return table

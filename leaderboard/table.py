"""What a leaderboard table holds: one protocol and track, a row a method with its settings."""

from __future__ import annotations

from dataclasses import dataclass

from .analysis import Analysis
from .ceiling import Ceiling
from .encoder_axis import mixed
from .record import ProtocolRecord
from .row import Row


@dataclass(frozen=True)
class Table:
    """Rows of one protocol hash and track, in the order to print: ranked, oracles, incomplete, failed.

    `ceiling` needs stored predictions: `folder.with_ceilings` fills it in. `only` are the encoders that rows were chosen by.
    """

    protocol: ProtocolRecord
    track: str
    folds: tuple[str, ...]
    rows: tuple[Row, ...]
    analysis: Analysis
    ceiling: Ceiling | None = None
    only: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Names everything without which a number means nothing."""
        p = self.protocol
        parts = [
            f"Protocol {p.name} ({p.hash[:8]})",
            f"dataset {p.dataset}",
            f"target {p.target}",
            f"track {self.track}",
        ]
        if not p.images:
            parts.append("no images")
        if self.only:
            parts.append(f"encoder {', '.join(self.only)} alone")
        return " · ".join(parts) + (" · LEAKY" if p.leaky else "") + (" · SIMULATED" if p.simulated else "")

    @property
    def mixed(self) -> str:
        """That rows of several encoders stand in the ranking; "" where they do not."""
        return mixed(self.rows)

    def row(self, name: str) -> Row | None:
        """The row with that key or title, else the best complete one with that label, else None."""
        exact = [row for row in self.rows if name in (row.key, row.title)]
        return next(iter(exact or [row for row in self.rows if row.method == name]), None)

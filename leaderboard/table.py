"""What a leaderboard table holds: one protocol and track, a row a method with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .analysis import Analysis
from .ceiling import Ceiling
from .downstream import Downstream
from .encoder_axis import mixed
from .record import ProtocolRecord
from .row import Row


@dataclass(frozen=True)
class Within:
    """The figures of a method trained and tested within the dataset on which a transfer tests it.

    Attributes:
        protocol_hash: of the table that they stand in.
        figures: mean over the same patients, by the figure's name.
        drop: what the transfer loses, by the figure's name: within less transfer, of MSE transfer less within.
    """

    protocol_hash: str
    figures: Mapping[str, float]
    drop: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """Rows of one protocol hash and track, in the order to print: ranked, oracles, incomplete, failed.

    `ceiling` needs stored predictions: `folder.with_ceilings` fills it in. `downstream` needs figures made of them:
    `folder.with_downstream`. `only` are the encoders that rows were chosen by. `within`, by row key, is of a transfer:
    `transfer.with_within` fills it in.
    """

    protocol: ProtocolRecord
    track: str
    folds: tuple[str, ...]
    rows: tuple[Row, ...]
    analysis: Analysis
    ceiling: Ceiling | None = None
    only: tuple[str, ...] = ()
    within: Mapping[str, Within] = field(default_factory=dict)
    downstream: Downstream | None = None

    @property
    def title(self) -> str:
        """Names everything without which a number means nothing."""
        p = self.protocol
        parts = [
            f"Protocol {p.name} ({p.hash[:8]})",
            f"dataset {p.dataset}" + ("" if p.test_dataset is None else f" → {p.test_dataset}"),
            f"target {p.target}",
            f"track {self.track}",
        ]
        if not p.images:
            parts.append("no images")
        if self.only:
            parts.append(f"encoder {', '.join(self.only)} alone")
        if p.held_out == "splits":
            parts.append("GENES CHOSEN ON TEST SAMPLES")
        return " · ".join(parts) + (" · LEAKY" if p.leaky else "") + (" · SIMULATED" if p.simulated else "")

    @property
    def mixed(self) -> str:
        """That rows of several encoders stand in the ranking; "" where they do not."""
        return mixed(self.rows)

    @property
    def beside(self) -> str:
        """What the columns "within" and "drop" say; empty without them."""
        if not self.within:
            return ""
        hashes = sorted({found.protocol_hash[:8] for found in self.within.values()})
        return (
            f"within: the same method trained on other patients of {self.protocol.tested} (protocol {', '.join(hashes)}); drop: what "
            "is lost of it here; each on the gene panel of its own training side, of which the markers alone are the same"
        )

    def row(self, name: str) -> Row | None:
        """The row with that key or title, else the best complete one with that label, else None."""
        exact = [row for row in self.rows if name in (row.key, row.title)]
        return next(iter(exact or [row for row in self.rows if row.method == name]), None)

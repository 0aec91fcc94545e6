"""A cell as plain data: one method with its parameters, on one fold of one protocol, with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ...datasets.folds import Fold
from ...datasets.protocol import Protocol
from ...leaderboard.record import PatchRecord
from ...names import path_part
from ..settings import RunSettings


class CellTask(BaseModel):
    """All that a cell needs, as plain data, so that it can be sent to another process or machine."""

    model_config = ConfigDict(frozen=True)

    cell: str
    identity: dict[str, Any]
    method: str
    settings: RunSettings
    encoder: str | None = None  # of several in one run the one that the method is crossed with
    cache: Path
    protocol: Protocol
    leaky: bool
    fold: Fold
    patch: PatchRecord
    seed: int
    device: str
    precision: Literal["fp32", "bf16"]
    steps: Literal["eager", "compiled"] = "eager"
    threads: int
    tuned: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """The method, in a run of several encoders with its own."""
        return self.method if self.encoder is None else f"{self.method} · {self.encoder}"

    @property
    def name(self) -> str:
        """Folder of the cell: readable, and unique by the identity's first digits."""
        return f"{self.start}-{self.cell[:12]}"

    @property
    def start(self) -> str:
        """How the folder begins of every cell of this method, fold and seed, whatever else decides it."""
        return f"{path_part(self.method.split('[')[0])}-{path_part(self.fold.name)}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the cell's record, predictions and model are written, below `--out`."""
        return self.settings.out / self.protocol.folder / self.name

"""A cell as plain data: one method with its parameters, on one fold of one protocol, with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ...datasets.folds import Fold
from ...datasets.protocol import Protocol
from ...leaderboard.record import PatchRecord
from ...methods.encoders.registry import Weights
from ...names import path_part


class CellTask(BaseModel):
    """All that a cell needs, as plain data, so that it can be sent to another process or machine."""

    model_config = ConfigDict(frozen=True)

    cell: str
    identity: dict[str, Any]
    method: str
    profile: Literal["fast", "paper"]
    plugins: tuple[str, ...] = ()
    dataset: str
    data_dir: Path | None
    cache: Path
    runs: Path
    protocol: Protocol
    leaky: bool
    fold: Fold
    encoder: str
    weights: dict[str, Weights]
    runtime: str
    patch: PatchRecord
    seed: int
    select: Literal["mse", "pcc"]
    max_epochs: int | None
    device: str
    precision: Literal["fp32", "bf16"]
    steps: Literal["eager", "compiled"] = "eager"
    threads: int
    keep_models: bool = True
    tuned: dict[str, Any] | None = None

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
        return self.runs / self.protocol.folder / self.name

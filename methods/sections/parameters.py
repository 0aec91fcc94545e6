"""Parameters of every method that reads a whole section at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..training import TrainingParameters


class SectionParameters(TrainingParameters):
    """What `SectionMethod` reads; methods add their own."""

    inputs: Literal["features", "pixels"] = Field(
        "features", description="Frozen features of each spot, or the pixels of its patch, 0..255."
    )
    patch_size: int = Field(112, ge=8, le=1024, description="Edge of the patch's middle that inputs=pixels reads.")
    positions: int = Field(
        64, ge=1, le=65_536, description="Rows of each position table; array x and y must lie below."
    )
    start_at_mean: bool = Field(True, description="The head's bias starts at the training mean.")

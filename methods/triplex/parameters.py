"""TRIPLEX's parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ..reduced import Components
from ..training import TrainingParameters


class TriplexParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/triplex.yaml; the defaults are those of a direct call."""

    image_encoder: Literal["frozen", "finetune"] = Field(
        "frozen",
        description="What the target branch reads: one frozen feature vector, or 49 places of a tuned backbone.",
    )
    backbone: str = Field("resnet18", description="The network that image_encoder=finetune trains.")
    components: Components = 128
    grid: int = Field(5, ge=3, le=15, description="Views along an edge around a spot; odd.")
    dim: int = Field(96, ge=8, le=8192, description="Width of all tokens.")
    neighbour_depth: int = Field(1, ge=1, le=64, description="Blocks over the views around a spot.")
    neighbour_heads: int = Field(3, ge=1, le=128, description="Attention heads in each.")
    neighbour_dropout: float = Field(0.3, ge=0, lt=1, description="Dropout in them.")
    global_depth: int = Field(2, ge=1, le=64, description="Blocks over the spots of a section.")
    global_heads: int = Field(3, ge=1, le=128, description="Attention heads in each.")
    global_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout in them.")
    fusion_depth: int = Field(1, ge=1, le=64, description="Blocks that fuse the branches.")
    fusion_heads: int = Field(3, ge=1, le=128, description="Attention heads in each.")
    fusion_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout in them.")
    distillation: float = Field(
        0.3, ge=0, le=1, description="Share of a branch's loss that draws it and the fused prediction together."
    )
    clamp: bool = Field(
        False, description="Clamp the four predictions at 0 before the loss, which starves those below."
    )
    start_at_mean: bool = Field(True, description="The four heads' biases start at the training mean.")
    by_section: bool = Field(
        True,
        description="A step reads all spots of batch_size sections; else batch_size spots of any, with their sections.",
    )

    @field_validator("grid")
    @classmethod
    def _odd(cls, grid: int) -> int:
        if grid % 2 == 0:
            raise ValueError("grid is odd, so that a view is the spot's own")
        return grid

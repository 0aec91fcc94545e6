"""Parameters of iStar."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from ..training import TrainingParameters


class IStarParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/istar.yaml; the defaults are those of a direct call."""

    features: Literal["parts", "hipt"] = Field(
        "parts",
        description="What a cell is seen by: parts (a part of the patch, and the patch, by the run's encoder), or hipt (its tokens).",
    )
    components: int = Field(
        128,
        ge=0,
        le=65_536,
        description="With features=parts: principal components that are read of each level; 0 reads the features.",
    )
    parts: int = Field(4, ge=2, le=15, description="With features=parts: cells along an edge of a spot's patch.")
    disk: float = Field(0.65, gt=0, le=1, description="Diameter of a spot as a share of its patch's edge.")
    surroundings: int = Field(
        15,
        ge=1,
        le=63,
        description="With features=hipt: tiles of 256 px along the edge of what its ViT-4K sees around each tile; odd.",
    )
    width: int = Field(128, ge=8, le=8192, description="Width of the hidden layers.")
    depth: int = Field(4, ge=1, le=16, description="Hidden layers.")
    copies: int = Field(5, ge=1, le=100, description="Networks whose median is the prediction.")
    start_at_mean: bool = Field(True, description="Whether the outputs start at the training mean.")

    @field_validator("surroundings")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"expected an odd number of tiles, so that one is in the middle, found {value}")
        return value

    @model_serializer(mode="wrap")
    def _read(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without surroundings where nothing reads them: cells of features=parts are what they were before there were any."""
        written: dict[str, Any] = handler(self)
        if self.features != "hipt":
            del written["surroundings"]
        return written

"""Parameters of XFuse."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from ..training import TrainingParameters


class XFuseParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/xfuse.yaml; the defaults are those of a direct call."""

    features: Literal["parts", "pixels"] = Field(
        "parts",
        description="What a cell of the image is: parts (a part of the patch, as the run's encoder sees it), or pixels.",
    )
    components: int = Field(
        64,
        ge=0,
        le=65_536,
        description="With features=parts: principal components that are read of each level; 0 reads the features.",
    )
    cells: int = Field(
        4, ge=2, le=1024, description="Cells along an edge of a spot's patch; pixels are averaged to as many."
    )
    disk: float = Field(0.65, gt=0, le=1, description="Diameter of a spot as a share of its patch's edge.")
    levels: int = Field(3, ge=1, le=10, description="Latent levels, each of half the resolution of the one above.")
    width: int = Field(16, ge=2, le=1024, description="Channels of the first level; each level has twice as many.")
    least_steps: int = Field(
        1,
        ge=1,
        le=100_000,
        description="Fewest steps of an epoch, which passes over the training spots as often as that takes.",
    )
    metagenes: int = Field(16, ge=1, le=1000, description="Most metagenes.")
    metagene_epochs: int = Field(
        5, ge=1, le=100_000, description="Epochs after which useful metagenes are split and useless ones merged."
    )
    covariates: Literal["none", "section", "patient", "both"] = Field(
        "both",
        description="Conditions of the training sections whose effects on each gene are learned, and left out in predict.",
    )
    augment: bool = Field(True, description="Eight symmetries of the patch in training.")

    def passes(self, spots: int) -> int:
        """Passes over so many training spots that make an epoch."""
        return math.ceil(self.least_steps * self.accumulate * self.batch_size / spots)

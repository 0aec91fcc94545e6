"""HisToGene (Pang, Su, Li 2021; maxpmx/HisToGene): a transformer that reads a whole section at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort
from ..sections.method import Places, SectionMethod
from ..sections.parameters import SectionParameters

if TYPE_CHECKING:
    from torch import Tensor

    from .network import HisToGeneNetwork


class HisToGeneParameters(SectionParameters):
    """Values and their sources stand in configs/methods/histogene.yaml; the defaults are those of a direct call."""

    dim: int = Field(256, ge=8, le=8192, description="Width of the sequence.")
    depth: int = Field(4, ge=1, le=64, description="Transformer blocks.")
    heads: int = Field(4, ge=1, le=128, description="Attention heads in each.")
    head_dim: int = Field(64, ge=1, le=1024, description="Width of a head.")
    mlp: int = Field(512, ge=8, le=32_768, description="Width of each block's hidden layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout after the embedding and in the blocks.")


class HisToGene(SectionMethod):
    """Mean squared error regression of all spots of a section together; spots attend to one another.

    It sees the whole test section (`context` is "section"), pixels and positions, never expression. Array coordinates
    are rounded to whole numbers, as published.
    """

    name = "histogene"
    version = 2
    hint = "histogene reads a whole section at once: set patch_size=112, a smaller dim or inputs=features"
    Parameters = HisToGeneParameters
    parameters: HisToGeneParameters
    network: HisToGeneNetwork

    @override
    def _build(self, width: int) -> HisToGeneNetwork:
        from .network import HisToGeneNetwork

        p = self.parameters
        return HisToGeneNetwork(
            len(self.genes),
            width,
            dim=p.dim,
            depth=p.depth,
            heads=p.heads,
            head_dim=p.head_dim,
            mlp=p.mlp,
            dropout=p.dropout,
            positions=p.positions,
        )

    @override
    def _start(self, train: Cohort) -> None:
        import torch

        self.network.head.bias.copy_(torch.from_numpy(train.target.mean(axis=0, dtype=np.float64)))

    @override
    def _predict(self, spots: Tensor, places: Places) -> Tensor:
        from .network import flatten_patches

        values = spots if self._scaling is not None else flatten_patches(spots, self.parameters.patch_size)
        out: Tensor = self.network(values[None], places.positions[None])[0]
        return out

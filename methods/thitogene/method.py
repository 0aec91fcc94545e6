"""THItoGene (Jia et al. 2024; yrjia1015/THItoGene): expression of a whole section from images, places and neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...datasets.neighbours import Neighbours
from ..sections.method import Places, SectionMethod
from .parameters import THItoGeneParameters

if TYPE_CHECKING:
    from torch import Tensor

    from .network import THItoGeneNetwork


class THItoGene(SectionMethod):
    """Squared error of whole sections; a spot attends to its nearest spots by array position, however far they are."""

    name = "thitogene"
    version = 2
    hint = "thitogene reads a whole section at once: set inputs=features, a smaller capsule_length or a smaller depth"
    Parameters = THItoGeneParameters
    parameters: THItoGeneParameters
    network: THItoGeneNetwork

    @override
    def _build(self, width: int) -> THItoGeneNetwork:
        from .network import THItoGeneNetwork

        return THItoGeneNetwork(len(self.genes), width, self.parameters)

    @override
    def _start(self, train: Cohort) -> None:
        import torch

        self.network.head.bias.copy_(torch.from_numpy(train.target.mean(axis=0, dtype=np.float64)))

    @override
    def _graph(self, section: SealedSection) -> Neighbours:
        return section.neighbours(self.parameters.neighbours)

    @override
    def _predict(self, spots: Tensor, places: Places) -> Tensor:
        from ..sections.pixels import middle_pixels

        read = spots if self._scaling is not None else middle_pixels(spots, self.parameters.patch_size)
        out: Tensor = self.network(read, places.positions, places.near, places.share)
        return out

"""Hist2ST (Zeng et al. 2022; biomed-AI/Hist2ST): expression of a whole section from images, places and neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from ...datasets.cohort import Cohort, MeasuredSection, SealedSection
from ...datasets.neighbours import Neighbours
from ..sections.method import Places, SectionMethod
from .parameters import Hist2STParameters

if TYPE_CHECKING:
    from torch import Tensor

    from .network import Hist2STNetwork


class Hist2ST(SectionMethod):
    """Squared error, the likelihood of the counts (ZINB) and self-distillation over augmented views, of whole sections.

    A spot's neighbours are the nearest by array position; one that has none near enough is its own neighbour, and a section
    of few spots has as many neighbours as there are.
    """

    name = "hist2st"
    version = 2
    hint = "hist2st reads a whole section at once: set inputs=features, bake=0, a smaller dim or a smaller depth"
    Parameters = Hist2STParameters
    parameters: Hist2STParameters
    network: Hist2STNetwork

    @override
    def _build(self, width: int) -> Hist2STNetwork:
        from .network import Hist2STNetwork

        return Hist2STNetwork(len(self.genes), width, self.parameters)

    @override
    def _start(self, train: Cohort) -> None:
        import torch

        self.network.head.bias.copy_(torch.from_numpy(train.target.mean(axis=0, dtype=np.float64)))
        if self.parameters.zinb:
            mean = sum(section.counts().sum(axis=0) for section in train.sections) / len(train)
            counts = self.network.counts["mean"]
            assert isinstance(counts, torch.nn.Linear)
            counts.bias.copy_(torch.from_numpy(np.log(np.maximum(mean, 1e-2))))

    @override
    def _graph(self, section: SealedSection) -> Neighbours:
        return section.neighbours(self.parameters.neighbours, self.parameters.within)

    @override
    def _rate(self, epoch: int) -> float:
        return float(self.parameters.decay ** ((epoch - 1) // self.parameters.decay_every))

    @override
    def _predict(self, spots: Tensor, places: Places) -> Tensor:
        out: Tensor = self.network(self._read(spots), places.positions, places.near, places.share)[0]
        return out

    def _read(self, spots: Tensor) -> Tensor:
        from ..sections.pixels import middle_pixels

        return spots if self._scaling is not None else middle_pixels(spots, self.parameters.patch_size)

    @override
    def _truth(self, section: MeasuredSection) -> dict[str, Tensor]:
        import torch

        from .losses import size_factors

        if not self.parameters.zinb:
            return super()._truth(section)
        counts = torch.from_numpy(section.counts().astype(np.float32))
        return {**super()._truth(section), "counts": counts, "size": size_factors(counts)}

    @override
    def _loss(self, spots: Tensor, places: Places, truth: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        import torch

        from ..sections.recompute import recomputed
        from .losses import augmented, distillation_loss, zinb_loss

        p, network = self.parameters, self.network
        assert places.near is not None
        assert places.share is not None
        seen = (self._read(spots), places.positions, places.near, places.share)

        def view(pixels: Tensor, *where: Tensor) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = network(augmented(pixels), *where)
            return found

        large = network.large(spots, 1 + p.bake)
        prediction, vector = recomputed(large, network, network, *seen)
        loss = (prediction - truth["target"]).square().mean()
        figures = {"mse": loss}
        if p.zinb:
            mean, dispersion, zero = network.count_model(vector)
            figures["zinb"] = zinb_loss(truth["counts"], mean * truth["size"], dispersion, zero)
            loss = loss + p.zinb * figures["zinb"]
        if network.view_score is not None:
            views = [recomputed(large, network, view, *seen) for _ in range(p.bake)]
            scores = torch.stack([network.view_score(of_view) for _, of_view in views])
            figures["distillation"] = distillation_loss(
                prediction, torch.stack([expression for expression, _ in views]), scores
            )
            loss = loss + p.distillation * figures["distillation"]
        return loss, figures

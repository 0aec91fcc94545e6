"""DeepSpot (Nonchev et al. 2025; ratschlab/DeepSpot): the method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...datasets.views import Views
from ..method import FitContext, Inputs
from ..network_method import NetworkMethod, Steps
from ..reduced import Components, Reduced
from ..training import TrainingParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .network import DeepSpotNetwork

ROWS = 256  # spots predicted at once
AROUND = 8  # spots in the 3 x 3 around one
DIAGONAL = 1.5  # pitches; a diagonal neighbour lies 1.41 away, on a hexagonal array the six lie 1 away


class DeepSpotParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/deepspot.yaml; the defaults are those of a direct call."""

    components: Components = 128
    parts: int = Field(3, ge=2, le=15, description="Parts along an edge that a spot's patch is cut into.")
    width: int = Field(128, ge=8, le=8192, description="Width of phi.")
    copies: int = Field(10, ge=1, le=100, description="Copies of phi and of rho.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout in phi and before rho.")
    output_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the output of rho.")


class DeepSpot(NetworkMethod):
    """Mean squared error regression of expression standardised per gene over the training spots.

    A spot is predicted from its patch, the parts of it, and the patches of the spots next to it (`context` is "section").
    """

    name = "deepspot"
    version = 2
    context: ClassVar[Literal["spot", "section"]] = "section"
    Parameters = DeepSpotParameters
    parameters: DeepSpotParameters
    network: DeepSpotNetwork

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("",), views=(Views(parameters.parts, inside=True),))

    @override
    def _scale(self, train: Cohort, context: FitContext, device: torch.device) -> None:
        self._reduced = Reduced.fit(train.features(), self.parameters.components)
        self._mean = train.target.mean(axis=0, dtype=np.float64)
        sd = train.target.std(axis=0, dtype=np.float64)
        self._sd: NDArray[np.float64] = np.where(sd > 1e-6 * (1 + np.abs(self._mean)), sd, 0.0)

    @override
    def _steps(self, train: Cohort, device: torch.device) -> Steps:
        import torch

        network = self.network
        z = (train.target - self._mean) / np.where(self._sd > 0, self._sd, np.inf)
        target = torch.from_numpy(z.astype(np.float32)).to(device)
        own, parts, index, present = self._read(train, device)

        def loss(rows: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
            rows = rows.to(device)
            predicted = network(own[rows], parts[rows], own[index[rows]], present[rows])
            return (predicted - target[rows]).square().mean(), {}

        return Steps(len(train), loss, self.parameters)

    @override
    def _kept(self) -> dict[str, NDArray[Any]]:
        return {**self._reduced.state(), "target.mean": self._mean, "target.sd": self._sd}

    @override
    def _take(self, state: dict[str, NDArray[Any]]) -> None:
        self._mean, self._sd = state.pop("target.mean"), state.pop("target.sd")
        self._reduced = Reduced.restore(state)

    @override
    def _build(self) -> DeepSpotNetwork:
        from .network import DeepSpotNetwork

        p = self.parameters
        return DeepSpotNetwork(
            len(self.genes),
            self._reduced.width,
            width=p.width,
            copies=p.copies,
            dropout=p.dropout,
            output_dropout=p.output_dropout,
        )

    @override
    def _read(self, side: Cohort | SealedSection, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features of the spots (n, c) and of their parts (n, parts, c), rows of their neighbours (n, k) and which there are."""
        import torch

        near = side.neighbours(AROUND, DIAGONAL)
        views = side.views(Views(self.parameters.parts, inside=True))
        own, parts = self._reduced.read(side.features()), self._reduced.read(views)
        arrays = (own, parts, near.index, near.present)
        found = [torch.from_numpy(np.ascontiguousarray(values)).to(device) for values in arrays]
        return found[0], found[1], found[2], found[3]

    @override
    def _predict(self, read: tuple[Tensor, Tensor, Tensor, Tensor]) -> NDArray[np.float32]:
        import torch

        network = self.network
        own, parts, index, present = read
        network.eval()
        with torch.inference_mode():
            seen = torch.cat([network.phi(part) for part in own.split(ROWS)])  # once, also as others' neighbours
            out = [
                network.joined(seen[rows], network.phi(parts[rows]), seen[index[rows]], present[rows]).float().cpu()
                for rows in torch.arange(len(own), device=own.device).split(ROWS)
            ]
        return np.asarray(torch.cat(out).numpy() * self._sd + self._mean, dtype=np.float32)

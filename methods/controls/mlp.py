"""Two dense layers on frozen features: what any architecture has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..method import FitContext, Method
from ..scaling import Scaling
from ..training import TrainingParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..images.sources import FeatureSource


class MlpParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/mlp.yaml; the defaults are those of a direct call."""

    hidden: int = Field(512, ge=1, le=65_536, description="Width of the hidden layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout on the hidden layer in training.")


class Mlp(Method):
    """Mean squared error regression by a linear layer, ReLU, dropout and a linear layer that starts at the training mean."""

    name = "mlp"
    version = 1
    kind = "control"
    Parameters = MlpParameters
    parameters: MlpParameters
    network: nn.Sequential

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..images.sources import run_batches, validator
        from ..training import run, seeded

        p = self.parameters
        self.genes = train.genes
        self._scaling = Scaling.fit(train.features())
        device = torch.device(context.device)
        with seeded(context):
            self.network = network = self._build().to(device)
            target = torch.from_numpy(np.asarray(train.target)).to(device)
            with torch.no_grad():
                *_, weight, bias = network.parameters()
                weight.zero_()
                bias.copy_(target.mean(dim=0))
            source = self._source(train, device)

            def loss(rows: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
                rows = rows.to(device, non_blocking=True)
                return (network(source.ready(rows, training=True)) - target[rows]).square().mean(), {}

            validate = None
            if validation is not None:
                seen = self._source(validation, device)
                validate = validator(lambda: run_batches(network, seen), validation)
            run(network, len(train), loss, p, context, validate=validate)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        from ..images.sources import device_of, run_batches

        return run_batches(self.network, self._source(section, device_of(self.network)))

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        return {**to_arrays(self.network), "image.mean": self._scaling.mean, "image.sd": self._scaling.sd}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from ..network_arrays import from_arrays

        state = dict(state)
        self._scaling = Scaling(state.pop("image.mean"), state.pop("image.sd"))
        self.network = self._build()
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _source(self, side: Cohort | SealedSection, device: torch.device) -> FeatureSource:
        from ..images.sources import FeatureSource

        return FeatureSource(side.features(), self._scaling, device)

    def _build(self) -> nn.Sequential:
        from torch import nn

        p = self.parameters
        return nn.Sequential(
            nn.Linear(len(self._scaling.mean), p.hidden),
            nn.ReLU(),
            nn.Dropout(p.dropout),
            nn.Linear(p.hidden, len(self.genes)),
        )

"""ST-Net (He et al., Nature Biomedical Engineering 2020; bryanhe/ST-Net): regression from a patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..images.method import ImageMethod
from ..method import FitContext
from ..training import TrainingParameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .network import STNetNetwork

NORMALISATION_SAMPLE = 12 * 32  # patches: the code estimates mean and sd from twelve batches


class STNetParameters(TrainingParameters):
    """Values and their sources stand in configs/methods/stnet.yaml; the defaults are those of a direct call."""

    image_encoder: Literal["frozen", "finetune"] = Field(
        "frozen", description="Frozen features below the linear layer, or the backbone trained with it."
    )
    backbone: str = Field("densenet121", description="The network that image_encoder=finetune trains.")
    augment: bool = Field(
        False, description="Eight symmetries of the patch in training; read by image_encoder=finetune."
    )
    average: bool = Field(
        False,
        description="Average the prediction over a test patch's eight symmetries; read by image_encoder=finetune.",
    )


class STNet(ImageMethod):
    """Mean squared error regression; the last layer starts with zero weight and the training mean as bias.

    The published loss is a sum over the batch, so the last, shorter batch of an epoch takes a proportionally smaller step.
    """

    name = "stnet"
    version = 2
    Parameters = STNetParameters
    parameters: STNetParameters
    network: STNetNetwork

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..images.sources import validator
        from ..training import run, seeded
        from .network import initialise

        p = self.parameters
        device = torch.device(context.device)
        with seeded(context):
            self._open(train, context)
            if self._image.backbone is not None:
                mean, sd = channel_statistics(train)
                self._image = replace(self._image, mean=mean, sd=sd)
            network = self.network
            target = torch.from_numpy(np.asarray(train.target)).to(device)
            initialise(network, target.mean(dim=0))
            source = self._image.source(train, device, augment=p.augment)

            def prepare(rows: Tensor) -> tuple[Tensor, Tensor]:
                return rows, source.prepare(rows)

            def loss(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
                rows, images = batch
                predicted = network(source.ready(images, training=True))
                return (predicted - target[rows.to(device, non_blocking=True)]).square().mean(), {}

            validate = None
            if validation is not None:
                seen = self._image.source(validation, device)
                validate = validator(lambda: self._over(seen), validation)
            run(network, len(train), loss, p, context, validate=validate, prepare=prepare, summed=True)
            self._settle(train, context)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        averaged = self.network.averaged if self._image.backbone is not None and self.parameters.average else None
        return self._predicted(section, averaged)

    def _build(self, width: int, backbone: nn.Module | None) -> STNetNetwork:
        from .network import STNetNetwork

        return STNetNetwork(len(self.genes), width, backbone)


def channel_statistics(train: Cohort) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of red, green and blue over 255, of patches spread evenly over the training spots.

    The standard deviation is at least a step of a pixel's value, 1/255.
    """
    patches = train.patches()
    rows = np.unique(np.linspace(0, len(patches) - 1, min(NORMALISATION_SAMPLE, len(patches))).astype(np.intp))
    pixels = patches[rows].reshape(-1, 3)
    mean = pixels.mean(axis=0, dtype=np.float64) / 255
    return mean, np.maximum(pixels.std(axis=0, dtype=np.float64), 1.0) / 255

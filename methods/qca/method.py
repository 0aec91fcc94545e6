"""QCA, quantised cross-modal alignment (ICLR 2025 submission, openreview Le823SjZEc): the method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort, SealedSection
from ..method import FitContext, Inputs, Method
from .parameters import QCAParameters

if TYPE_CHECKING:
    from torch import nn

    from ..image_side import ImageSide
    from .network import QCANetwork


class QCA(Method):
    """Image features, quantised to codes that gene features guide, decoded to expression.

    Only the image side, quantiser and decoder predict; the gene encoder shapes them in training. The network,
    `qca.network.QCANetwork`, starts at the mean predictor.
    """

    name = "qca"
    Parameters = QCAParameters
    network: QCANetwork

    @classmethod
    def inputs(cls, parameters: Any) -> Inputs:
        if parameters.image_encoder == "finetune":
            return Inputs(patches=True, backbone=parameters.backbone)
        return Inputs(encoders=("",))

    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..image_side import ImageSide
        from ..images import validator
        from ..training import run, seeded
        from .fitting import QCATraining, describe, warn_of_collapse
        from .network import initialise

        p = self.parameters
        self.genes = train.genes
        device = torch.device(context.device)
        with seeded(context):
            backbone = None
            if p.image_encoder == "finetune":
                self._image = ImageSide.of_patches(train, p.backbone)
                backbone = self._image.build_backbone(context.backbone, context.seed)
            else:
                self._image = ImageSide.of_features(train)
            self.network = network = self._build(self._image, backbone).to(device)
            target = torch.from_numpy(np.asarray(train.target)).to(device)
            initialise(network, target.mean(dim=0))
            source = self._image.source(train, device, p.feature_noise, p.augment)
            step = QCATraining(network, source, target, p)
            validate = None
            if validation is not None:
                validate = validator(network, self._image.source(validation, device), validation)
            run(
                network,
                len(train),
                step.loss,
                p,
                context,
                validate=validate,
                prepare=step.prepare,
                monitor=step.monitor,
                drop_last=p.alignment != "none",
            )
            warn_of_collapse(context)
            self._diagnostics: dict[str, NDArray[Any]] = describe(network, source)

    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        from ..images import device_of, run_batches

        return run_batches(self.network, self._image.source(section, device_of(self.network)))

    def state(self) -> dict[str, NDArray[Any]]:
        from ..training import to_arrays

        return {**to_arrays(self.network), **self._image.state()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from ..image_side import ImageSide
        from ..training import from_arrays

        state = dict(state)
        tuned = self.parameters.image_encoder == "finetune"
        self._image = ImageSide.restore(state, self.parameters.backbone if tuned else None)
        self.network = self._build(self._image, self._image.build_backbone("random") if tuned else None)
        from_arrays(self.network, state)
        self._diagnostics = {}

    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def diagnostics(self) -> dict[str, NDArray[Any]]:
        return self._diagnostics

    def _build(self, image: ImageSide, backbone: nn.Module | None) -> QCANetwork:
        from ..image_side import feature_count
        from .network import QCANetwork

        width = image.width if backbone is None else feature_count(backbone)
        return QCANetwork(len(self.genes), width, self.parameters, backbone)

"""QCA, quantised cross-modal alignment (ICLR 2025 submission, openreview Le823SjZEc): the method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..images.method import ImageMethod
from ..method import FitContext
from .parameters import QCAParameters

if TYPE_CHECKING:
    from torch import nn

    from .network import QCANetwork


class QCA(ImageMethod):
    """Image features, quantised to codes that gene features guide, decoded to expression.

    Only the image side, quantiser and decoder predict; the gene encoder shapes them in training. The network,
    `qca.network.QCANetwork`, starts at the mean predictor.
    """

    name = "qca"
    version = 4
    Parameters = QCAParameters
    parameters: QCAParameters
    network: QCANetwork

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..images.sources import validator
        from ..training import run, seeded
        from .fitting import QCATraining, describe, settle, warn
        from .network import initialise

        p = self.parameters
        device = torch.device(context.device)
        with seeded(context):
            self._open(train, context)
            network = self.network
            target = torch.from_numpy(np.asarray(train.target)).to(device)
            initialise(network, target.mean(dim=0))
            source = self._image.source(train, device, p.feature_noise, p.augment)
            step = QCATraining(network, source, target, p)
            validate = None
            if validation is not None:
                seen = self._image.source(validation, device)
                validate = validator(lambda: self._over(seen), validation)
            run(
                network,
                len(train),
                step.loss,
                p,
                context,
                validate=validate,
                prepare=step.prepare,
                monitor=step.monitor,
                average=p.average,
                settle=lambda: settle(network, source),
                drop_last=p.alignment != "none" or p.code_norm,  # both compare the spots of one batch
            )
            self._settle(train, context)
            warn(context, network, len(train))
            self._diagnostics: dict[str, NDArray[Any]] = describe(network, source)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return self._predicted(section)

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        super().restore(state)
        self._diagnostics = {}

    @override
    def diagnostics(self) -> dict[str, NDArray[Any]]:
        return self._diagnostics

    def _build(self, width: int, backbone: nn.Module | None) -> QCANetwork:
        from .network import QCANetwork

        return QCANetwork(len(self.genes), width, self.parameters, backbone)

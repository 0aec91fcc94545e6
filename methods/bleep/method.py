"""BLEEP (Xie et al., NeurIPS 2023; bowang-lab/BLEEP): contrastive embedding of patches and spots, then retrieval."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ..images.method import ImageMethod
from ..method import FitContext
from ..selection import validation_scores
from .parameters import BLEEPParameters

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ..images.sources import ImageSource
    from .network import BLEEPNetwork

EMBED_ROWS = 8192  # reference spots embedded at a time


class BLEEP(ImageMethod):
    """Embeds patch and expression together; predicts the expression of the training spots nearest to a patch.

    References are the training spots alone: neither validation nor test expression is ever retrieved.
    """

    name = "bleep"
    version = 2
    Parameters = BLEEPParameters
    parameters: BLEEPParameters
    network: BLEEPNetwork

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..training import run, seeded
        from .network import contrastive_loss

        p = self.parameters
        device = torch.device(context.device)
        with seeded(context):
            self._open(train, context)
            network = self.network
            source = self._image.source(train, device, p.feature_noise, p.augment)
            self._expression = torch.from_numpy(np.ascontiguousarray(train.target)).to(device)

            def prepare(rows: Tensor) -> tuple[Tensor, Tensor]:
                return rows, source.prepare(rows)

            def loss(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
                rows, images = batch
                image, spot = network(
                    source.ready(images, training=True), self._expression[rows.to(device, non_blocking=True)]
                )
                return contrastive_loss(image, spot, p.temperature), {"chance": torch.tensor(math.log(len(rows)))}

            validate = None
            if validation is not None:
                validate = self._validator(validation, self._image.source(validation, device), device)
            run(network, len(train), loss, p, context, validate=validate, prepare=prepare, drop_last=True)
            self._settle(train, context)
            self._references = self._embed(self._expression)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..images.sources import device_of
        from .network import retrieve

        if not len(self._references):
            raise MethodError(
                "This bleep was converted from public weights and holds no reference spots, so it embeds but cannot "
                "retrieve; use its network, or fit it with qbench."
            )
        device = device_of(self.network)
        queries = self._predicted(section, self.network.embed_image)
        self._references, self._expression = self._references.to(device), self._expression.to(device)
        p = self.parameters
        found = retrieve(torch.from_numpy(queries).to(device), self._references, self._expression, p.retrieval, p.k)
        return np.asarray(found.float().cpu().numpy())

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {
            **super().state(),
            "reference.embedding": self._references.cpu().numpy(),
            "reference.expression": self._expression.cpu().numpy(),
        }

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        import torch

        state = dict(state)
        self._references = torch.from_numpy(state.pop("reference.embedding"))
        self._expression = torch.from_numpy(state.pop("reference.expression"))
        super().restore(state)

    def _build(self, width: int, backbone: nn.Module | None) -> BLEEPNetwork:
        from .network import BLEEPNetwork

        p = self.parameters
        return BLEEPNetwork(len(self.genes), width, p.projection, p.dropout, backbone)

    def _embed(self, expression: Tensor) -> Tensor:
        """Spot embeddings (n, width), float32, in evaluation mode."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            return torch.cat([self.network.embed_expression(part).float() for part in expression.split(EMBED_ROWS)])

    def _validator(
        self, validation: Cohort, source: ImageSource, device: torch.device
    ) -> Callable[[], dict[str, float]]:
        """MSE and PCC of the retrieved expression, and how often a patch finds its own spot among the validation spots."""
        import torch

        from .network import retrieval_recall, retrieve

        p = self.parameters
        own = torch.from_numpy(np.ascontiguousarray(validation.target)).to(device)

        def validate() -> dict[str, float]:
            image = self._over(source, self.network.embed_image)
            queries = torch.from_numpy(image).to(device)
            found = retrieve(queries, self._embed(self._expression), self._expression, p.retrieval, p.k)
            scores = validation_scores(found.cpu().numpy(), validation.target, validation.boundaries)
            return {**scores, **retrieval_recall(queries, self._embed(own))}

        return validate

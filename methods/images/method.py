"""What the methods share that read one spot's image: an image side in both profiles, and how its network is kept."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort
from ..method import FitContext, Inputs, Method

if TYPE_CHECKING:
    from torch import nn

    from ..training import TrainingParameters
    from .side import ImageSide


class ImageMethod(Method):
    """A method whose parameters `image_encoder` and `backbone` choose frozen features or a network that it tunes.

    Attributes:
        network: what it trains, the tuned backbone included.
    """

    network: nn.Module
    parameters: TrainingParameters
    _image: ImageSide

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        tuned = _tuned(parameters)
        return Inputs(encoders=("",)) if tuned is None else Inputs(patches=True, backbone=tuned)

    @abstractmethod
    def _build(self, width: int, backbone: nn.Module | None) -> Any:
        """A new network for `self.genes`; `width` is that of the features, or of the backbone's output."""

    def _open(self, train: Cohort, context: FitContext) -> None:
        """Set the genes, the image side as the training spots have it, and a new network on the context's device."""
        from .side import ImageSide

        self.genes = train.genes
        self._image = ImageSide.of(train, _tuned(self.parameters))
        backbone = self._image.build_backbone(context.backbone, context.seed)
        if backbone is not None and context.compiled:
            from ..compiled import compile_steps

            compile_steps(backbone, min(self.parameters.batch_size, len(train)))
        self.network = self._build(self._image.feature_count(backbone), backbone).to(context.device)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        from ..network_arrays import to_arrays

        return {**to_arrays(self.network), **self._image.state()}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        from ..network_arrays import from_arrays
        from .side import ImageSide

        state = dict(state)
        self._image = ImageSide.restore(state, _tuned(self.parameters))
        backbone = self._image.build_backbone("random")
        self.network = self._build(self._image.feature_count(backbone), backbone)
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())


def _tuned(parameters: Any) -> str | None:
    """The backbone that is trained, or None on frozen features."""
    return str(parameters.backbone) if parameters.image_encoder == "finetune" else None

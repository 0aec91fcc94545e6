"""What the methods share that read one spot's image: an image side in both profiles, and how its network is kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ..machine import EXACT, split_runtime
from ..method import FitContext, Inputs, Method

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..training import TrainingParameters
    from .evaluation import Forward
    from .side import ImageSide
    from .sources import ImageSource


class ImageMethod(Method):
    """A method whose parameters `image_encoder` and `backbone` choose frozen features or a network that it tunes.

    Attributes:
        network: what it trains, the tuned backbone included.
    """

    pooled: ClassVar[bool] = True
    network: nn.Module
    parameters: TrainingParameters
    _image: ImageSide
    _backbone: nn.Module | None = None  # a part of the network
    _pass: Forward | None = None  # the backbone's where nothing is learned; None until it is opened, or for its own

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
        backbone = self._backbone = self._image.build_backbone(context.backbone, context.seed)
        if backbone is not None and context.compiled:
            from ..compiled import compile_steps

            compile_steps(backbone, min(self.parameters.batch_size, len(train)))
        self.network = self._build(self._image.feature_count(backbone), backbone).to(context.device)
        if backbone is None:
            return
        self._image = replace(self._image, evaluation=context.evaluation)
        if "openvino" in context.evaluation:  # what it cannot convert is said before a long training
            from .evaluation import open_pass

            open_pass(backbone, self._image, context.evaluation, train)
        # Validation sees other weights in each epoch, which torch takes as they are and OpenVINO would convert anew.
        self._settle(train, context, f"eager:{split_runtime(context.evaluation)[1]}")

    def _settle(self, train: Cohort, context: FitContext, runtime: str | None = None) -> None:
        """Open the backbone's pass for its weights as they are, in validation through `runtime`.

        None is that of predictions. What lies too far from fp32 is left to fp32; the record says so, and the model keeps it.
        """
        chosen = runtime or self._image.evaluation
        fault = self._open_pass(chosen, train)
        if fault is not None:
            what = "predicts" if runtime is None else "validates"
            context.warn(f"{self.name} {what} in {EXACT}, since its tuned backbone in {chosen} has {fault}.")
            if runtime is None:
                self._image = replace(self._image, evaluation=EXACT)

    def _open_pass(self, runtime: str, side: Cohort | SealedSection) -> str | None:
        """Open the backbone's pass, unless it has a fault on the patches of a side, which is returned."""
        self._pass = None
        backbone = self._backbone
        if backbone is None or runtime == EXACT:
            return None
        from .evaluation import find_fault, open_pass

        opened = open_pass(backbone, self._image, runtime, side)
        fault = find_fault(backbone, opened, self._image, side)
        self._pass = opened if fault is None else None
        return fault

    def _over(self, source: ImageSource, forward: Callable[[Tensor], Tensor] | None = None) -> NDArray[np.float32]:
        """`forward`, the network if None, over all rows in evaluation mode, the backbone by the pass that is open."""
        from .sources import run_batches

        if self._backbone is None or self._pass is None:
            return run_batches(self.network, source, forward)
        from .evaluation import passing

        with passing(self._backbone, self._pass):
            return run_batches(self.network, source, forward)

    def _predicted(
        self, section: SealedSection, forward: Callable[[Tensor], Tensor] | None = None
    ) -> NDArray[np.float32]:
        """The same over a section, by the pass of predictions, opened once a model.

        Raises:
            MethodError: what it makes of the section's patches lies too far from fp32.
        """
        from .sources import device_of

        if self._pass is None and (fault := self._open_pass(self._image.evaluation, section)) is not None:
            raise MethodError(
                f"The backbone {self._image.backbone} tuned by {self.name} has {fault} in {self._image.evaluation}; use "
                f"--runtime {EXACT}."
            )
        return self._over(self._image.source(section, device_of(self.network)), forward)

    @override
    def to(self, device: str) -> None:
        super().to(device)
        if device != "cpu":  # where OpenVINO does not run
            self.evaluate_in(self._image.evaluation.replace("openvino", "eager"))

    @property
    @override
    def evaluation(self) -> str:
        return self._image.evaluation

    @override
    def evaluate_in(self, evaluation: str) -> None:
        self._image, self._pass = replace(self._image, evaluation=evaluation), None

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
        backbone = self._backbone = self._image.build_backbone("random")
        self.network = self._build(self._image.feature_count(backbone), backbone)
        from_arrays(self.network, state)

    @override
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())


def _tuned(parameters: Any) -> str | None:
    """The backbone that is trained, or None on frozen features."""
    return str(parameters.backbone) if parameters.image_encoder == "finetune" else None

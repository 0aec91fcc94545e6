"""The image input of a method in both profiles: frozen features, z-scored, or patches for a backbone that it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ...names import shown
from ..encoders.registry import card
from ..machine import EXACT, split_runtime
from ..scaling import Scaling
from .sources import FeatureSource, ImageSource, PatchSource


@dataclass(frozen=True)
class ImageSide:
    """How a method turns a section's image into its network's input.

    Attributes:
        backbone: name of the network that reads patches, or None for frozen features.
        mean, sd: float64, per feature (d,), or per channel (3,) of pixels over 255.
        patch_size: edge of the patches in pixels; 0 for features.
        evaluation: how the backbone is computed where nothing is learned, see `FitContext`.
    """

    backbone: str | None
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    patch_size: int = 0
    evaluation: str = EXACT

    @classmethod
    def of(cls, train: Cohort, backbone: str | None) -> Self:
        """Patches, normalised as the backbone's weights were trained with; without one z-scores of the run's features."""
        if backbone is None:
            scaling = Scaling.fit(train.features())
            return cls(None, scaling.mean, scaling.sd)
        found = card(backbone)
        return cls(backbone, np.array(found.mean), np.array(found.std), train.patches().shape[1])

    def build_backbone(self, weights: Path | Literal["random"] | None, seed: int = 0) -> nn.Module | None:
        """The network with a pooled output and no classifier, None for features; random weights are drawn with `seed`.

        Raises:
            MethodError: no weights were given.
        """
        if self.backbone is None:
            return None
        if weights is None:
            raise MethodError(
                f"Expected weights for the backbone {self.backbone}; name a file with --encoder-weights "
                f"{self.backbone}=FILE, or ask for --encoder-weights random."
            )
        from ..encoders.build import build_network  # timm, half a second that frozen features do without

        network = build_network(self.backbone, weights, seed=seed, image_size=self.patch_size)
        return network.to(memory_format=torch.channels_last)

    def feature_count(self, backbone: nn.Module | None) -> int:
        """Width of the backbone's pooled output, or number of features."""
        return len(self.mean) if backbone is None else int(backbone.num_features)  # type: ignore[arg-type]

    def source(
        self, side: Cohort | SealedSection, device: torch.device, noise: float = 0.0, augment: bool = False
    ) -> ImageSource:
        """The rows of one side; `noise` (features) and `augment` (patches) act in training only."""
        if self.backbone is None:
            return FeatureSource(side.features(), Scaling(self.mean, self.sd), device, noise)
        return PatchSource(side.patches(), self.mean, self.sd, device, augment)

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for `Method.state`, named "image.*"."""
        arrays = {"image.mean": self.mean, "image.sd": self.sd, "image.patch_size": np.array(self.patch_size)}
        if self.evaluation != EXACT:
            arrays["image.evaluation"] = np.frombuffer(self.evaluation.encode("ascii"), np.uint8)
        return arrays

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], backbone: str | None) -> Self:
        """The inverse of `state`; takes its arrays out of the dictionary.

        Raises:
            MethodError: an evaluation that this version does not have.
        """
        side = cls(backbone, state.pop("image.mean"), state.pop("image.sd"), int(state.pop("image.patch_size")))
        if "image.evaluation" in state:
            side = replace(side, evaluation=_known(state.pop("image.evaluation")))
        return side


def _known(kept: NDArray[Any]) -> str:
    text = kept.tobytes().decode("ascii", errors="replace")
    name, dtype = split_runtime(text)
    if name not in ("eager", "openvino") or text != f"{name}:{dtype}":
        raise MethodError(
            f"Expected a model whose backbone runs through eager or openvino, found {shown(text)}; fit the model again."
        )
    return text

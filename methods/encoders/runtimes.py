"""What runs an encoder: one small interface, whatever computes behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .build import build_network
from .registry import EncoderSpec
from .rgb import encode_rgb


class Runtime(Protocol):
    """A ready encoder.

    Attributes:
        dim: numbers per patch. batch: patches that one call of `encode` should be given.
    """

    dim: int
    batch: int

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (b, size, size, 3) RGB -> float32 (b, dim)."""


class Rgb:
    """The weightless encoder."""

    dim = 6
    batch = 32

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        return encode_rgb(patches)


class Eager:
    """torch as it is: channels-last, autocast to bf16 where the spec says so, on the CPU or one GPU."""

    def __init__(self, spec: EncoderSpec, network: nn.Module) -> None:
        # Denormals cost a factor of ten and carry nothing.
        torch.set_flush_denormal(True)
        self.device = torch.device(spec.device)
        self.batch = 256 if spec.device == "cuda" else 32 if spec.dtype == "bf16" else 8
        self._bf16 = spec.dtype == "bf16"
        self._network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._scale, self._shift = normalisation(spec, self.device)
        self.dim = int(network.num_features)  # type: ignore[arg-type]

    @torch.inference_mode()
    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        # A permuted view of NHWC memory is channels-last already; normalised in place, in fp32.
        batch = torch.from_numpy(np.array(patches)).to(self.device).permute(0, 3, 1, 2).float()
        batch.mul_(self._scale).add_(self._shift)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            features: Tensor = self._network(batch)
        return features.float().cpu().numpy()


def normalisation(spec: EncoderSpec, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """(x/255 - mean)/std as one scale and one shift, float32 (1, 3, 1, 1)."""
    mean = torch.tensor(spec.mean, dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float64).view(1, 3, 1, 1)
    return (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)


def open_runtime(spec: EncoderSpec, image_size: int) -> Runtime:
    """The encoder of a spec, ready for patches of `image_size` pixels."""
    if spec.weights is None:
        return Rgb()
    return Eager(spec, build_network(spec.name, spec.weights, image_size=image_size))

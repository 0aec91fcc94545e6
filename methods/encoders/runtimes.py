"""What runs an encoder: one small interface, whatever computes behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .build import build_network
from .registry import EncoderSpec
from .rgb import encode_rgb
from .torch_runtimes import Compiled, Eager


class Runtime(Protocol):
    """A ready encoder.

    Attributes:
        dim: numbers per patch.
        batch: patches that one call of `encode` should be given, at most.
    """

    dim: int
    batch: int

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The patches in memory that `encode` takes them from at once; called in a thread, while the last batch computes."""

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (b, size, size, 3) RGB -> float32 (b, dim)."""


class Rgb:
    """The weightless encoder."""

    dim = 6
    batch = 32

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same: they are read where they are."""
        return patches

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Means and standard deviations of red, green and blue: uint8 (b, size, size, 3) -> float32 (b, 6)."""
        return encode_rgb(patches)


def open_runtime(spec: EncoderSpec, image_size: int) -> Runtime:
    """The encoder of a spec, ready for patches of `image_size` pixels.

    Raises:
        ConfigurationError, DataError: see `build.build_network`.
        MethodError: the runtime cannot run this network.
    """
    if spec.weights is None:
        return Rgb()
    network = build_network(spec.name, spec.weights, image_size=image_size)
    if spec.runtime == "openvino":
        from .openvino import OpenVino

        return OpenVino(spec, network, image_size)
    return Compiled(spec, network) if spec.runtime == "compiled" else Eager(spec, network)

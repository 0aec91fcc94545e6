"""An encoder's network run by torch, as it is or compiled; and what every runtime of a network must do alike."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..compiled import compiled, compiling
from ..precision import settle_cuda
from .lite import split_sensitive
from .registry import EncoderSpec

_log = logging.getLogger("qbench")


class Eager:
    """torch as it is: channels-last, autocast to bf16 or fp16 where the spec says so, on the CPU or one GPU."""

    def __init__(self, spec: EncoderSpec, network: nn.Module) -> None:
        torch.set_flush_denormal(True)  # denormals cost a factor of ten and carry nothing
        settle_cuda()
        self.device = torch.device(spec.device)
        self.dim = int(network.num_features)  # type: ignore[arg-type]
        self._half = torch.float16 if spec.dtype == "fp16" else torch.bfloat16
        self._scale, self._shift = normalisation(spec, self.device)
        self._parts = [
            (part.to(self.device, memory_format=torch.channels_last), bf16)  # type: ignore[call-overload]
            for part, bf16 in parts(spec.loader, spec.dtype, network)
        ]
        # On a CPU: large enough for bf16 matrices, but small where fp32 activations must stay in its cache.
        all_bf16 = all(bf16 for _, bf16 in self._parts)
        self.batch = 256 if spec.device == "cuda" else 32 if all_bf16 else 8

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The patches, for a GPU in pinned memory, from where they travel while it computes."""
        if self.device.type != "cuda":
            return patches
        pinned = torch.empty(patches.shape, dtype=torch.uint8, pin_memory=True).numpy()
        np.copyto(pinned, patches)
        return pinned

    @torch.inference_mode()
    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (b, size, size, 3) RGB -> float32 (b, dim), the parts marked for it under autocast."""
        # A permuted view of NHWC memory is channels-last already; normalised in place, in fp32.
        read = torch.from_numpy(np.require(patches, requirements="W"))
        batch: Tensor = read.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        batch.mul_(self._scale).add_(self._shift)
        for part, halved in self._parts:
            with torch.autocast(self.device.type, self._half, enabled=halved):
                batch = part(batch)
        return batch.float().cpu().numpy()


class Compiled(Eager):
    """torch.compile with the weights frozen in; one shape only, so short batches are filled up."""

    def __init__(self, spec: EncoderSpec, network: nn.Module) -> None:
        super().__init__(spec, network)
        self.batch = 256 if spec.device == "cuda" else 32
        self._name = spec.name
        _log.info("Compiling encoder %s: 10 to 100 seconds, once a process.", spec.name)
        self._parts = [(compiled(part, options={"freezing": True}), bf16) for part, bf16 in self._parts]

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As uncompiled, each batch filled up to one size, so that nothing is compiled twice."""
        with compiling(f"Encoder '{self._name}'"):
            return super().encode(filled(patches, self.batch))[: len(patches)]


def parts(loader: str, dtype: str, network: nn.Module) -> list[tuple[nn.Module, bool]]:
    """What runs one after the other, each with whether it runs in bf16 or fp16; the sensitive part of a network stays in fp32."""
    if dtype == "fp32":
        return [(network, False)]
    if loader == "lite":
        front, rest = split_sensitive(network)
        return [(front, False), (rest, True)]
    return [(network, True)]


def normalisation(spec: EncoderSpec, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """(x/255 - mean)/std as one scale and one shift, float32 (1, 3, 1, 1)."""
    mean = torch.tensor(spec.mean, dtype=torch.float64).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float64).view(1, 3, 1, 1)
    return (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)


def filled(patches: NDArray[np.uint8], batch: int) -> NDArray[np.uint8]:
    """The patches, the last one repeated up to `batch` rows."""
    lacking = batch - len(patches)
    return patches if lacking <= 0 else np.concatenate([patches, np.repeat(patches[-1:], lacking, axis=0)])

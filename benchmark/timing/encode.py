"""Encoding patches: the chosen runtime against a plain fp32 timm loop (eager, NCHW)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...methods.encoders.registry import EncoderSpec, Weights, resolve
from .measure import Row, alternate, less, matmul_limit, rate

ENCODERS: Mapping[str, Mapping[str, Weights]] = {"efficientnet_lite0": {}, "resnet50": {"resnet50": "random"}}
PATCHES, SIZE, PLAIN_BATCH = 64, 224, 32


def rows(runtime: str = "auto", device: str = "auto") -> list[Row]:
    """Patches per second and peak memory of each encoder; weights do not change the speed, so resnet50's are random."""
    patches = np.random.default_rng(0).integers(0, 256, (PATCHES, SIZE, SIZE, 3), dtype=np.uint8)
    return [
        row for name, weights in ENCODERS.items() for row in _rows_of(resolve(name, weights, device, runtime), patches)
    ]


def _rows_of(spec: EncoderSpec, patches: NDArray[np.uint8]) -> list[Row]:
    import torch

    from ...methods.encoders.build import build_network
    from ...methods.encoders.features import encode_into
    from ...methods.encoders.runtimes import open_runtime

    assert spec.weights is not None
    ours = open_runtime(spec, SIZE)
    network = build_network(spec.name, spec.weights).to(spec.device)
    out = np.empty((PATCHES, ours.dim), np.float32)
    times = alternate(lambda: encode_into(out, ours, patches), lambda: plain_loop(network, spec, patches))
    limit = matmul_limit(spec.dtype, spec.device) / operations(network, spec.device)
    label = f"encode {spec.name} ({spec.runtime}, {spec.dtype}, {spec.device}, {torch.get_num_threads()} threads)"
    return [
        rate(label, "patches/s", PATCHES, times.ours, times.plain, limit),
        less(f"encode {spec.name}, peak memory", "MB", times.ours_mb, times.plain_mb),
    ]


def plain_loop(network: object, spec: EncoderSpec, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What one writes with timm at hand: batches of 32, float NCHW, normalised as tensors, no gradients."""
    import torch

    mean, std = (torch.tensor(v).view(1, 3, 1, 1).to(spec.device) for v in (spec.mean, spec.std))
    found = []
    with torch.no_grad():
        for start in range(0, len(patches), PLAIN_BATCH):
            batch = torch.from_numpy(patches[start : start + PLAIN_BATCH]).to(spec.device)
            x = (batch.permute(0, 3, 1, 2).contiguous().float() / 255 - mean) / std
            found.append(network(x).cpu().numpy())  # type: ignore[operator]
    return np.concatenate(found)


def operations(network: object, device: str) -> float:
    """Floating point operations that one patch costs, two for each multiply and add."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, SIZE, SIZE, device=device))  # type: ignore[operator]
    return float(counter.get_total_flops())

"""What a GPU makes of the networks: encoding in each arithmetic and layout, training steps, and the memory that they take."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...methods.encoders.registry import EncoderSpec, resolve
from ...methods.machine import resolve_device
from ...methods.registry import spec
from .encode import SIZE, operations, plain_loop
from .measure import Row, less, matmul_limit
from .simulated import cohort
from .train import FEATURES, GENES, METHODS, Precision, Timer

if TYPE_CHECKING:
    from torch import nn

ENCODERS = ("efficientnet_lite0", "resnet50", "densenet121", "ctranspath")
RUNS = 5
# Patches encoded, of which a batch at a time; training spots of the fast and the paper profiles, in four sections.
SIZES = {"cuda": (4_096, 256, 4_096, 1_024), "cpu": (16, 8, 64, 32)}
Arithmetic = Literal["fp32", "tf32", "bf16"]


def rows(device: str = "auto", compiled: bool = False) -> Iterator[Row]:
    """Images and training steps per second, one row after another as they are measured; weights are random.

    `.ci/gpu.py` prints them. The share is of the fastest large matrix product in the same arithmetic. `compiled` times compiled
    training steps too, which takes minutes. On a CPU the sizes are too small to say anything: it shows that the rows come.
    """
    device = resolve_device(device)
    patches, batch, features, images = SIZES[device]
    for name in ENCODERS:
        yield from _encoding(resolve(name, {name: "random"}, device, "eager"), patches, batch)
    for profile, spots in (("fast", features), ("paper", images)):
        for name in METHODS:
            yield from _training(name, profile, spots, device, compiled)


def _encoding(spec: EncoderSpec, patches: int, batch: int) -> Iterator[Row]:
    """The network alone on pixels that are there already, then what a run does: from the host's memory to the host's."""
    import torch

    from ...methods.encoders.build import build_network
    from ...methods.encoders.features import encode_into
    from ...methods.encoders.runtimes import open_runtime

    assert spec.weights is not None
    network = build_network(spec.name, spec.weights).to(spec.device)
    cost = operations(network, spec.device)
    ways: tuple[tuple[Arithmetic, bool], ...] = (
        ("fp32", False), ("fp32", True), ("tf32", True), ("bf16", False), ("bf16", True),
    )  # fmt: skip
    for arithmetic, channels_last in ways:
        seconds = _forward_seconds(network, batch, arithmetic, channels_last, spec.device)
        layout = "channels-last" if channels_last else "NCHW"
        limit = _limit(arithmetic, spec.device) / cost
        name = f"network {spec.name}, {arithmetic}, {layout}, {batch} on the device"
        yield Row(name, batch / seconds, None, None, "images/s", batch / seconds / limit)
    del network
    pixels = np.random.default_rng(0).integers(0, 256, (patches, SIZE, SIZE, 3), dtype=np.uint8)
    _fresh_peak(spec.device)
    runtime = open_runtime(spec, SIZE)
    out = np.empty((patches, runtime.dim), np.float32)
    ours = _median(lambda: encode_into(out, runtime, pixels), spec.device, 3)
    peak = _peak_mb(spec.device)
    plain = build_network(spec.name, spec.weights).to(spec.device)
    few = pixels[: max(32, patches // 4)]
    with _arithmetic("fp32"):
        slow = _median(lambda: plain_loop(plain, spec, few), spec.device, 2) * len(pixels) / len(few)
    limit = matmul_limit(spec.dtype, spec.device) / cost
    rate = patches / ours
    yield Row(
        f"encode {spec.name}, {spec.dtype}, {patches:,} from memory", rate, patches / slow, slow / ours, "images/s",
        rate / limit,
    )  # fmt: skip
    yield less(f"encode {spec.name}, peak of the device", "MB", peak, None)
    torch.cuda.empty_cache()


def _training(name: str, profile: str, spots: int, device: str, compiled: bool) -> Iterator[Row]:
    described = spec(name, profile=profile)
    edge = SIZE if profile == "paper" else 0
    train = cohort(4, spots // 4, FEATURES, GENES, edge)
    sections = described.cls.context == "section"
    size = 1 if sections else min(getattr(described.parameters, "batch_size", spots), spots)
    steps = -(-(4 if sections else spots) // size)
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if profile == "paper" else ("fp32",)
    for precision in precisions:
        timer = Timer(described, train, 3, precision, device)
        ways = (False, True) if compiled and timer.tuned and precision == "bf16" else (False,)
        for steps_compiled in ways:
            timer.compiled = steps_compiled
            _fresh_peak(device)
            timer.ours()
            peak = _peak_mb(device)
            how = f"{precision}, compiled" if steps_compiled else precision
            what = f"train {name} ({profile}), {how}, " + (
                f"{spots // 4} spots a step" if sections else f"batch {size}"
            )
            rate = steps / timer.ours_s[-1]
            if not steps_compiled:
                timer.plain()
            plain = steps / timer.plain_s[-1]
            limit = matmul_limit(precision, device) / timer.flops() if not steps_compiled else None
            share = None if limit is None else rate / steps / limit
            yield Row(what, rate, plain, rate / plain, "steps/s", share)
            yield less(f"train {name} ({profile}), {how}, peak of the device", "MB", peak, None)


def _forward_seconds(network: nn.Module, batch: int, arithmetic: Arithmetic, channels_last: bool, device: str) -> float:
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    network.to(memory_format=layout)
    x = torch.randn(batch, 3, SIZE, SIZE, device=device).contiguous(memory_format=layout)
    with _arithmetic(arithmetic), torch.inference_mode(), torch.autocast(device, torch.bfloat16, arithmetic == "bf16"):
        return _median(lambda: network(x), device, RUNS)


@contextmanager
def _arithmetic(name: Arithmetic) -> Iterator[None]:
    """fp32 products and convolutions as they are, or rounded to TF32."""
    import torch

    from ...methods.precision import settle_cuda

    settle_cuda()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        settle_cuda()


def _limit(arithmetic: Arithmetic, device: str) -> float:
    with _arithmetic(arithmetic):
        return matmul_limit(arithmetic, device)


def _median(work: Callable[[], object], device: str, runs: int) -> float:
    """Seconds of one run, the device's work included, after one run that is not counted."""
    seconds = []
    for _ in range(runs + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _fresh_peak(device: str) -> None:
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_mb(device: str) -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else 0.0

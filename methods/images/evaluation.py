"""A tuned backbone where nothing is learned: its pooled output by torch in bf16 or by OpenVINO, held against fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ..encoders.agreement import agreement
from ..encoders.registry import card
from ..encoders.rgb import encode_rgb
from ..encoders.torch_runtimes import parts
from ..machine import split_runtime
from .side import ImageSide
from .sources import device_of

CHECKED = 32  # patches that are looked at
Forward = Callable[[Tensor], Tensor]


def open_pass(backbone: nn.Module, image: ImageSide, runtime: str, side: Cohort | SealedSection) -> Forward:
    """The backbone's pass as it is now, in evaluation mode: float32 (n, 3, size, size), normalised -> float32 (n, d).

    Args:
        backbone: for OpenVINO its weights are copied.
        image: names it, and the size of its patches.
        runtime: "eager" or "openvino", a colon and a dtype.
        side: whose patches come in batches of what OpenVINO is to take at once.

    Raises:
        MethodError: OpenVINO is not there, does not run where the network is, or cannot convert it.
    """
    assert image.backbone is not None
    name, dtype = split_runtime(runtime)
    pieces = parts(card(image.backbone).loader, dtype, backbone)
    if name == "openvino":
        rows = image.source(side, device_of(backbone)).forward_batch
        with evaluated(backbone):
            return _through_openvino(pieces, image, rows, device_of(backbone).type)
    half = torch.float16 if dtype == "fp16" else torch.bfloat16
    whole: Forward = backbone.forward
    steps = [(whole if piece is backbone else piece, halved) for piece, halved in pieces]

    def forward(x: Tensor) -> Tensor:
        for piece, halved in steps:
            with torch.autocast(x.device.type, half, enabled=halved):
                x = piece(x)
        return x.float()

    return forward


def _through_openvino(pieces: list[tuple[nn.Module, bool]], image: ImageSide, rows: int, device: str) -> Forward:
    remedy = "use --runtime eager"
    if device != "cpu":
        raise MethodError(f"Expected the network on the CPU, where OpenVINO runs, found it on {device}; {remedy}.")
    try:
        from ..encoders.openvino import Graphs
    except ImportError as error:
        raise MethodError(
            "This backbone predicts through OpenVINO, which is not installed; install it with "
            f"`pip install 'qbench-spatial[cpu]'`, or {remedy}."
        ) from error
    example = torch.zeros(2, 3, image.patch_size, image.patch_size)
    graphs = Graphs(pieces, example, rows, f"the backbone {image.backbone}", threads=torch.get_num_threads())

    def forward(x: Tensor) -> Tensor:
        lacking = rows - len(x)
        full = x if lacking <= 0 else torch.cat([x, x[-1:].expand(lacking, -1, -1, -1)])
        return torch.from_numpy(graphs.run(full.contiguous().numpy())[: len(x)].copy())

    return forward


@contextmanager
def evaluated(backbone: nn.Module) -> Iterator[None]:
    """The backbone in evaluation mode inside."""
    training = backbone.training
    backbone.eval()
    try:
        yield
    finally:
        backbone.train(training)


@contextmanager
def passing(backbone: nn.Module, forward: Forward) -> Iterator[None]:
    """Have the backbone computed by `forward` inside."""
    before = backbone.__dict__.get("forward")  # of compiled steps, on the instance
    backbone.forward = forward
    try:
        yield
    finally:
        if before is None:
            del backbone.forward
        else:
            backbone.forward = before


def find_fault(backbone: nn.Module, forward: Forward, image: ImageSide, side: Cohort | SealedSection) -> str | None:
    """What lies too far from eager fp32 on up to 32 patches of a side, as encoders are judged; None where nothing does."""
    patches = side.patches()
    rows = np.unique(np.linspace(0, len(patches) - 1, min(CHECKED, len(patches))).astype(np.intp))
    sample = np.ascontiguousarray(patches[rows])
    source = image.source(side, device_of(backbone))
    batches = torch.from_numpy(rows.astype(np.int64)).split(source.forward_batch)
    with evaluated(backbone), torch.inference_mode():
        pixels = [source.ready(source.prepare(batch), training=False) for batch in batches]
        ours, exact = (torch.cat([run(x) for x in pixels]).float().cpu().numpy() for run in (forward, backbone.forward))
    return agreement(ours, exact, encode_rgb(sample)).fault()

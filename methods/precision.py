"""Arithmetic that must not run in bf16: similarities, softmaxes, rounding, and layers that predict."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")


def settle_cuda() -> None:
    """On a GPU fp32 is fp32, as torch's own default of TF32 in convolutions (10 bits) is not, and cuDNN repeats its sums."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def full(x: Tensor) -> Tensor:
    """The tensor in float32 where it is narrower; float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def outside_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """The function with autocast off and its narrow tensor arguments widened to float32."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [a for a in args if isinstance(a, Tensor)]
        with torch.autocast(tensors[0].device.type, enabled=False):
            wide = [full(a) if isinstance(a, Tensor) else a for a in args]
            return function(*wide, **kwargs)  # type: ignore[arg-type]

    return run


def in_full(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's output in float32, with autocast off; for layers that predict or quantise, which bf16 is too coarse for.

    bf16 has three digits: spots whose predictions differ by less would get the same, and validation could tell no epoch from
    another (seen with ST-Net's published rate, whose first epochs move predictions by 1e-5).
    """
    apply: Callable[[Tensor], Tensor] = outside_autocast(layer.__call__)
    return apply(x)

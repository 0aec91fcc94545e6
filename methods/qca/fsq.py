"""Finite scalar quantisation (Mentzer et al. 2023) with a straight-through gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..precision import outside_autocast

EPSILON = 1e-3  # room beyond the outermost levels, so that a saturated tanh still rounds onto them


class FSQ(nn.Module):
    """Bounds each dimension with tanh and rounds it to one of its levels.

    With half = (L-1)(1+1e-3)/2 a dimension of L levels becomes round(tanh(z + shift) half - offset), where even L has
    offset 1/2 and shift atanh(offset/half), and odd L neither; the codes are that divided by L // 2. For L = 8 they
    are -1, -3/4, ..., 3/4; for L = 5: -1, -1/2, 0, 1/2, 1; for L = 2: -1, 0.

    Args:
        levels: levels of each dimension, each at least 2.
        rounding: False keeps the bound without the rounding (the `bottleneck` ablation).
    """

    basis: Tensor
    _half: Tensor
    _offset: Tensor
    _shift: Tensor
    _width: Tensor

    def __init__(self, levels: tuple[int, ...], rounding: bool = True) -> None:
        super().__init__()
        self.levels, self.rounding = levels, rounding
        half = [(level - 1) * (1 + EPSILON) / 2 for level in levels]
        offset = [0.5 if level % 2 == 0 else 0.0 for level in levels]
        self.register_buffer("_half", torch.tensor(half), persistent=False)
        self.register_buffer("_offset", torch.tensor(offset), persistent=False)
        shift = [math.atanh(o / h) for o, h in zip(offset, half, strict=True)]
        self.register_buffer("_shift", torch.tensor(shift), persistent=False)
        self.register_buffer("_width", torch.tensor([level // 2 for level in levels]), persistent=False)
        # Beyond 2^63 codes the indices wrap: still equal for equal codes, and almost surely different otherwise.
        basis = [(math.prod(levels[:i]) + 2**63) % 2**64 - 2**63 for i in range(len(levels))]
        self.register_buffer("basis", torch.tensor(basis, dtype=torch.int64), persistent=False)

    @property
    def n_codes(self) -> int:
        """Size of the implicit codebook."""
        return math.prod(self.levels)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of z (n, dimensions), same shape, and their indices int64 (n,) in 0..n_codes-1.

        The gradient passes the rounding unchanged. In bf16 the levels would not be exact, so this runs in float32.
        """
        return self._quantise(z)

    @outside_autocast
    def bounded(self, z: Tensor) -> Tensor:
        """The tanh of each dimension as it is before the levels, in (-1, 1): near its ends the gradient vanishes."""
        return torch.tanh(z + self._shift)

    @outside_autocast
    def _quantise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        bounded = self.bounded(z) * self._half - self._offset
        rounded = bounded.detach().round() + (bounded - bounded.detach())  # this order keeps the levels exact
        index = ((bounded.detach().round() + self._width).long() * self.basis).sum(dim=-1)
        return (rounded if self.rounding else bounded) / self._width, index

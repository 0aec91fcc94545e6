"""Dropout whose random draws cost little on a CPU, where torch's Bernoulli draws took up to a third of a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """`nn.Dropout` with draws to 2^-16: in training a share of the values is 0, the others are divided by 1 - share."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape -> the same shape and dtype."""
        if not self.training or not self.share:
            return x
        factor = x.new_full((), 1 / (1 - self.share))
        return x * torch.where(drawn(x.shape, self.share, x.device), torch.zeros_like(factor), factor)


def dropped(x: Tensor, share: float) -> Tensor:
    """The values with a share of them at 0, without dropout's factor."""
    return x.masked_fill(drawn(x.shape, share, x.device), 0.0) if share else x


def drawn(shape: torch.Size, share: float, device: torch.device) -> Tensor:
    """Bool of a shape, each true with a probability of `share`, to 2^-16; four are drawn at once from 64 random bits."""
    n = math.prod(shape)
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    return bits.view(torch.int16)[:n].view(shape) < min(round(share * 2**16), 2**16 - 1) - 2**15

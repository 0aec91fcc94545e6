"""DeepSpot's network (Nonchev et al. 2025; ratschlab/DeepSpot): ensembles of dense layers around a deep set."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..dropout import drawn, dropped
from ..precision import full, outside_autocast


class Phi(nn.Module):
    """Linear, dropout, ReLU in several copies, and the median over them (the lower of the two middle ones)."""

    def __init__(self, inputs: int, width: int, copies: int, share: float) -> None:
        super().__init__()
        self.copies, self.share = copies, share
        self.layers = nn.Linear(inputs, copies * width)  # the copies beside each other

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., width)."""
        copies = self.layers(x).unflatten(-1, (self.copies, -1))
        found: Tensor = MedianOfReLU.apply(copies, self.share if self.training else 0.0)
        return found


class MedianOfReLU(torch.autograd.Function):
    """Dropout of a share, ReLU, lower median: (..., copies, width) -> (..., width).

    Neither the ReLU nor dropout's factor changes the order, so both are applied to the median alone. The gradient goes to
    the copy that is the median, or evenly to several that are equal; there is none where that is not above 0.
    """

    @staticmethod
    @override
    def forward(ctx: Any, copies: Tensor, share: float) -> Tensor:
        if share:
            copies = copies.masked_fill(drawn(copies.shape, share, copies.device), 0.0)
        middle = lower_median(copies)
        ctx.save_for_backward(copies, middle)
        ctx.factor = 1 / (1 - share)
        out: Tensor = middle.relu() * ctx.factor
        return out

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        copies, middle = ctx.saved_tensors
        taken = (copies == middle.unsqueeze(-2)).to(copies.dtype)
        each = (gradient * ctx.factor / taken.sum(dim=-2)).masked_fill_(middle <= 0, 0.0)
        return taken.mul_(each.unsqueeze(-2)), None


def lower_median(copies: Tensor) -> Tensor:
    """torch.median over the last dimension but one, (..., copies, width) -> (..., width), without a gradient.

    By exchanges of neighbouring copies, each of which is one pass over all values: twice as fast on a CPU.
    """
    with torch.no_grad():
        ordered = list(copies.unbind(dim=-2))
        for turn in range(len(ordered)):
            for i in range(turn % 2, len(ordered) - 1, 2):
                a, b = ordered[i], ordered[i + 1]
                ordered[i], ordered[i + 1] = torch.minimum(a, b), torch.maximum(a, b)
    return ordered[(len(ordered) - 1) // 2]


class Rho(nn.Module):
    """Dropout, linear, dropout in several copies, and the mean over them; a ReLU would change nothing, as no input is below 0."""

    def __init__(self, inputs: int, genes: int, copies: int, share: float, share_out: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as nn.Linear draws them
        self.weight = nn.Parameter(torch.empty(copies, genes, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, genes).uniform_(-bound, bound))
        self.share, self.share_out = share, share_out

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs) -> (n, genes), in float32 at least."""
        if not self.training:
            predict = outside_autocast(torch.addmm)  # the mean of linear layers is a linear layer
            return predict(self.bias.mean(dim=0), x, self.weight.mean(dim=0).T)
        # Spots stand last, so that the gradient of the weights comes as they lie in memory.
        copies = dropped((x.T / (1 - self.share)).expand(len(self.weight), -1, -1), self.share)
        out = full(torch.bmm(self.weight, copies)) + self.bias[:, :, None]
        return dropped(out, self.share_out).mean(dim=0).T / (1 - self.share_out)


class DeepSpotNetwork(nn.Module):
    """`forward(spot, parts, neighbours, present)` -> standardised expression (n, genes).

    spot: float (n, d). parts: (n, parts, d), of its patch. neighbours: (n, k, d), with bool (n, k) where there is one,
    at least one a row. One phi reads all; parts are summed, of the neighbours the largest is taken.
    """

    def __init__(
        self, genes: int, inputs: int, *, width: int, copies: int, dropout: float, output_dropout: float
    ) -> None:
        super().__init__()
        self.phi = Phi(inputs, width, copies, dropout)
        self.rho = Rho(3 * width, genes, copies, dropout, output_dropout)

    def forward(self, spot: Tensor, parts: Tensor, neighbours: Tensor, present: Tensor) -> Tensor:
        """What each of n spots shows, as the class says -> (n, genes)."""
        return self.joined(self.phi(spot), self.phi(parts), self.phi(neighbours), present)

    def joined(self, spot: Tensor, parts: Tensor, neighbours: Tensor, present: Tensor) -> Tensor:
        """The same from what phi makes of them: (n, width), (n, parts, width), (n, k, width), bool (n, k) -> (n, genes)."""
        around = neighbours.masked_fill(~present[..., None], 0.0).amax(dim=1)  # nothing that phi says is below 0
        expression: Tensor = self.rho(torch.cat([spot, parts.sum(dim=1), around], dim=1))
        return expression

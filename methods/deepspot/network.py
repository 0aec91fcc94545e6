"""DeepSpot's network (Nonchev et al. 2025; ratschlab/DeepSpot): ensembles of dense layers around a deep set."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ..precision import full, outside_autocast


class Phi(nn.Module):
    """Linear, dropout, ReLU in several copies, and the median over them (the lower of the two middle ones)."""

    def __init__(self, inputs: int, width: int, copies: int, share: float) -> None:
        super().__init__()
        self.copies = copies
        self.layers = nn.Linear(inputs, copies * width)  # the copies beside each other
        self.dropout = nn.Dropout(share)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., width)."""
        copies = self.dropout(self.layers(x)).relu().unflatten(-1, (self.copies, -1))
        middle = lower_median(copies.detach())
        if not torch.is_grad_enabled():
            return middle
        taken = (copies == middle.unsqueeze(-2)).to(copies.dtype)  # one copy, or several that are equal
        chosen: Tensor = (copies * taken).sum(dim=-2) / taken.sum(dim=-2)
        return chosen


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
        copies = dropout(x.expand(len(self.weight), -1, -1), self.share)
        out = full(torch.bmm(copies, self.weight.transpose(1, 2))) + self.bias[:, None]
        return dropout(out, self.share_out).mean(dim=0)


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
        around = (
            self.phi(neighbours).masked_fill(~present[..., None], 0.0).amax(dim=1)
        )  # nothing that phi says is below 0
        expression: Tensor = self.rho(torch.cat([self.phi(spot), self.phi(parts).sum(dim=1), around], dim=1))
        return expression

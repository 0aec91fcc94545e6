"""iStar's networks (Zhang et al. 2024; daviddaiweizhang/istar): dense layers from a cell's features to its expression."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, leaky_relu

from ..precision import full

SLOPE = 0.1  # of the hidden layers' LeakyReLU
FLOOR = 0.01  # ELU(x) with this alpha, plus this: above 0 everywhere


class Copies(nn.Module):
    """The same linear layer in several copies of their own weights: (copies, n, inputs) -> (copies, n, outputs)."""

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)  # as nn.Linear draws them
        self.weight = nn.Parameter(torch.empty(copies, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Each copy of its own input."""
        return torch.baddbmm(self.bias[:, None], x, self.weight.transpose(1, 2))


class IStarNetwork(nn.Module):
    """`forward(cells)` -> share of each gene's range, (copies, ..., genes), above 0; cells: float (..., inputs).

    No copy learns from another: their losses are averaged, and Adam steps each weight by itself.
    """

    def __init__(self, genes: int, inputs: int, *, width: int, depth: int, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.hidden = nn.ModuleList(Copies(copies, width if i else inputs, width) for i in range(depth))
        self.out = Copies(copies, width, genes)

    def forward(self, cells: Tensor) -> Tensor:
        """What every copy says of the cells."""
        x = cells.reshape(1, -1, cells.shape[-1]).expand(self.copies, -1, -1)
        for layer in self.hidden:
            x = leaky_relu(layer(x), SLOPE)
        x = elu(full(self.out(x)), FLOOR) + FLOOR
        return x.reshape(self.copies, *cells.shape[:-1], -1)

    def median(self, cells: Tensor) -> Tensor:
        """The middle of the copies' outputs, of each cell and gene: (..., genes); the lower of two middle ones, as torch's."""
        middle: Tensor = self(cells).median(dim=0).values
        return middle


def start_at(network: IStarNetwork, mean: Tensor) -> None:
    """Let every output start near `mean` (genes,), a share of the range: its bias alone gives it."""
    above = mean - FLOOR
    below = (above / FLOOR).clamp(min=-1 + 1e-3).log1p()
    with torch.no_grad():
        network.out.bias.copy_(torch.where(above > 0, above, below).expand_as(network.out.bias))
        network.out.weight.mul_(0.1)


def spot_loss(cells: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Mean squared error between the mean over each spot's disk and its expression, both as shares of the gene's range.

    Args:
        cells: what the copies say of each cell, (copies, n, cells, genes).
        weight: of each cell in its disk, (cells,); sums to 1.
        target: of the spots, (n, genes).
    """
    return (torch.einsum("kncg,c->kng", cells, weight) - target).square().mean()

"""THItoGene's network (Jia et al. 2024; yrjia1015/THItoGene): capsules of each spot, a transformer, graph attention."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, elu, leaky_relu
from typing_extensions import override

from ..histogene.network import Block
from ..precision import in_full
from ..sections.recompute import KEPT, over_section, recomputed
from .capsules import PatchCapsules, Routing, squash
from .parameters import THItoGeneParameters

CHUNK = 256  # spots whose patches become capsules at a time, where nothing is learned
SLOPE = 0.01


class GraphAttention(nn.Module):
    """Each spot as a mean of its neighbours' projections, weighed by attention, in each of `heads` heads (Velickovic et al. 2018)."""

    def __init__(self, inputs: int, dim: int, heads: int, rate: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, inputs, dim))
        self.of_spot = nn.Parameter(torch.empty(heads, dim))
        self.of_neighbour = nn.Parameter(torch.empty(heads, dim))
        self.rate = rate
        for head in self.weight:
            nn.init.xavier_uniform_(head)
        for vectors in (self.of_spot, self.of_neighbour):
            nn.init.normal_(vectors, std=dim**-0.5)

    @override
    def forward(self, x: Tensor, near: Tensor, share: Tensor) -> Tensor:
        projected = torch.einsum("ni,hid->nhd", x, self.weight)
        spot, neighbour = ((projected * vector).sum(dim=2) for vector in (self.of_spot, self.of_neighbour))
        scores = leaky_relu(spot[:, None] + neighbour[near], SLOPE)
        weights = scores.masked_fill((share == 0)[..., None], -torch.inf).softmax(dim=1)
        weights = dropout(weights, self.rate, self.training)
        return (weights[..., None] * projected[near]).sum(dim=1).flatten(1)


class THItoGeneNetwork(nn.Module):
    """From a whole section to the expression of each spot.

    `forward(spots, positions, near, share)`: z-scored features (n, width), or pixels (n, 3, x, y), 0..255; int64 (n, 2),
    array x and y; the neighbours as in `Places` -> (n, genes).
    """

    def __init__(self, genes: int, width: int, p: THItoGeneParameters) -> None:
        super().__init__()
        self.pixels, self.rate = p.inputs == "pixels", p.dropout
        shape = (p.primary, p.primary_length)
        self.primary: nn.Module = (
            PatchCapsules(p)
            if self.pixels
            else nn.Sequential(nn.Linear(width, p.primary * p.primary_length), nn.Unflatten(1, shape))
        )
        self.routing = Routing(p.primary, p.primary_length, p.capsules, p.capsule_length)
        self.x_embedding = nn.Embedding(p.positions, p.capsule_length)
        self.y_embedding = nn.Embedding(p.positions, p.capsule_length)
        with torch.no_grad():
            for table in (self.x_embedding, self.y_embedding):
                table.weight.mul_(p.position_scale)
        self.blocks = nn.ModuleList(Block(p.width, p.heads, p.head_dim, p.mlp, p.dropout) for _ in range(p.depth))
        self.first = GraphAttention(p.width, p.graph_dim, p.graph_heads, p.dropout)
        self.second = GraphAttention(p.graph_heads * p.graph_dim, p.graph_out, 1, p.dropout)
        self.hidden = nn.Sequential(nn.Linear(p.graph_out, p.hidden), nn.ReLU(), nn.LayerNorm(p.hidden))
        self.head = nn.Linear(p.hidden, genes)

    @override
    def forward(self, spots: Tensor, positions: Tensor, near: Tensor, share: Tensor) -> Tensor:
        place = [self.x_embedding(positions[:, 0]), self.y_embedding(positions[:, 1])]
        x = torch.cat([self.capsules(spots).flatten(1), *place], dim=1)
        large = self.pixels and len(spots) > KEPT
        for block in self.blocks:
            x = recomputed(large, block, partial(over_section, block), x)
        for layer in (self.first, self.second):
            x = elu(recomputed(large, layer, layer, dropout(x, self.rate, self.training), near, share))
        return in_full(self.head, self.hidden(x))

    def capsules(self, spots: Tensor) -> Tensor:
        """(n, capsules, length) of each spot alone; in chunks where nothing is learned, as batch statistics are of a section."""
        parts = (spots,) if self.training or not self.pixels else spots.split(CHUNK)
        large = self.pixels and len(spots) > KEPT
        return torch.cat([recomputed(large, self.routing, self._routed, self.primary(part)) for part in parts])

    def _routed(self, primary: Tensor) -> Tensor:
        out: Tensor = self.routing(squash(primary))
        return out

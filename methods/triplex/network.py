"""TRIPLEX's network (Chung et al., CVPR 2024): three branches, and one attention block that fuses them.

Written from the published description: widths, heads and layers as its code states them, no line of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..dropout import Dropout
from ..precision import in_full
from .parameters import TriplexParameters


class Outputs(NamedTuple):
    """Expression (n, genes) from the fused token and from each branch alone, all clamped at 0 where they are published so."""

    fused: Tensor
    target: Tensor
    neighbour: Tensor
    whole: Tensor


class Attention(nn.Module):
    """Multi-head attention of queries (b, q, dim) over a context (b, n, dim); heads share the width.

    `bias` (heads, q, n) is added to the logits; a key that `present` (b, n) calls missing is not looked at.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, context: Tensor, bias: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """Queries (b, q, dim) and what they look at (b, n, dim) -> (b, q, dim)."""
        b, q, dim = x.shape
        query = self.query(x).view(b, q, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(context).view(b, context.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = bias
        if present is not None:
            hidden = torch.zeros(present.shape, dtype=query.dtype, device=query.device)
            hidden = hidden.masked_fill(~present, -torch.inf)[:, None, None, :]
            mask = hidden if bias is None else hidden + bias.to(query.dtype)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.dropout(self.out(mixed.transpose(1, 2).reshape(b, q, dim)))
        return out


class Block(nn.Module):
    """Attention, then an MLP of `ratio` times the width, each behind a LayerNorm and added to its input."""

    def __init__(self, dim: int, heads: int, ratio: int, dropout: float, context_norm: bool = False) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim) if context_norm else None
        self.attention = Attention(dim, heads, dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, ratio * dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(ratio * dim, dim),
            Dropout(dropout),
        )

    def forward(
        self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """Tokens (b, q, dim), and the context (b, n, dim) that they attend to if not to one another -> (b, q, dim)."""
        queries = self.attention_norm(x)
        if context is None:
            context = queries
        elif self.context_norm is not None:
            context = self.context_norm(context)
        x = x + self.attention(queries, context, bias, present)
        changed: Tensor = self.mlp(self.mlp_norm(x))
        return x + changed


class NeighbourBranch(nn.Module):
    """A transformer over the views around a spot, whose logits have a learned bias by head and absolute offset."""

    def __init__(self, inputs: int, s: TriplexParameters) -> None:
        super().__init__()
        self.embedding = nn.Identity() if inputs == s.dim else nn.Linear(inputs, s.dim)
        self.blocks = nn.ModuleList(
            Block(s.dim, s.neighbour_heads, 1, s.neighbour_dropout) for _ in range(s.neighbour_depth)
        )
        self.offsets = nn.ParameterList(
            nn.Parameter(torch.zeros(s.neighbour_heads, s.grid**2)) for _ in range(s.neighbour_depth)
        )
        self.norm = nn.LayerNorm(s.dim)
        cells = torch.cartesian_prod(torch.arange(s.grid), torch.arange(s.grid))
        apart = (cells[:, None] - cells[None]).abs()
        self.register_buffer("offset", apart[..., 0] * s.grid + apart[..., 1], persistent=False)
        self.offset: Tensor

    def forward(self, views: Tensor, present: Tensor) -> Tensor:
        """(n, views, inputs) and bool (n, views) -> tokens (n, views, dim)."""
        x = self.embedding(views)
        for block, offsets in zip(self.blocks, self.offsets, strict=True):
            x = block(x, bias=offsets[:, self.offset], present=present)
        normed: Tensor = self.norm(x)
        return normed


class GlobalBranch(nn.Module):
    """A transformer over the spots of a section; behind its first block positions enter by a depth-wise convolution."""

    def __init__(self, inputs: int, s: TriplexParameters) -> None:
        super().__init__()
        self.embedding = nn.Identity() if inputs == s.dim else nn.Linear(inputs, s.dim)
        self.blocks = nn.ModuleList(Block(s.dim, s.global_heads, 4, s.global_dropout) for _ in range(s.global_depth))
        self.position = nn.Conv2d(s.dim, s.dim, 3, padding=1, groups=s.dim)
        self.norm = nn.LayerNorm(s.dim)

    def forward(self, spots: Tensor, places: Tensor) -> Tensor:
        """(n, inputs) of one section and int64 (n, 2), array column and row -> tokens (n, dim)."""
        x = self.embedding(spots)[None]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0:
                x = x + self._positioned(x[0], places)[None]
        normed: Tensor = self.norm(x[0])
        return normed

    def _positioned(self, x: Tensor, places: Tensor) -> Tensor:
        """The convolution over the section's own grid, read at each spot; spots of one cell are averaged in it."""
        column, row = (places - places.amin(dim=0)).unbind(1)
        width, height = int(column.max()) + 1, int(row.max()) + 1
        cell = row * width + column
        ones = torch.ones(len(x), 1, dtype=x.dtype, device=x.device)
        sums = torch.zeros(height * width, x.shape[1], dtype=x.dtype, device=x.device).index_add(0, cell, x)
        times = torch.zeros(height * width, 1, dtype=x.dtype, device=x.device).index_add(0, cell, ones)
        grid = (sums / times.clamp(min=1)).T.reshape(1, -1, height, width)
        convolved: Tensor = self.position(grid)
        return convolved.reshape(x.shape[1], -1).T[cell]


class TriplexNetwork(nn.Module):
    """`forward(target, views, present, whole)`: what each of n spots shows -> `Outputs`.

    target: float (n, tokens, inputs), from the spot's own patch: 49 places of a backbone's map, or one feature vector.
    views, present: float (n, 25, d) and bool (n, 25), features of the views around it and which there are.
    whole: float (n, dim), the spots' tokens of `whole_section`, which reads all spots of a section at once.
    """

    def __init__(
        self, genes: int, target: int, features: int, s: TriplexParameters, backbone: nn.Module | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.target_embedding = nn.Linear(target, s.dim)
        self.neighbour = NeighbourBranch(features, s)
        self.whole_section = GlobalBranch(features, s)
        self.fusion = nn.ModuleList(
            Block(s.dim, s.fusion_heads, 4, s.fusion_dropout, context_norm=True) for _ in range(s.fusion_depth)
        )
        self.fusion_norm = nn.LayerNorm(s.dim)
        self.heads = nn.ModuleDict({name: nn.Linear(s.dim, genes) for name in Outputs._fields})

    def tokens(self, images: Tensor) -> Tensor:
        """Pixels (n, 3, h, w), normalised, as the 49 tokens of a backbone's map; features (n, d) as one token."""
        if self.backbone is None:
            return images[:, None]
        mapped: Tensor = self.backbone.forward_features(images)  # type: ignore[operator]
        return mapped.flatten(2).transpose(1, 2)

    def forward(self, target: Tensor, views: Tensor, present: Tensor, whole: Tensor) -> Outputs:
        """What each of n spots shows, as the class says -> expression (n, genes), four times."""
        own = self.target_embedding(target)
        around = self.neighbour(views, present)
        query = whole[:, None]
        to_own, to_around = query, query
        for block in self.fusion:  # the same weights look at the spot and at its surroundings
            to_own = block(to_own, own)
            to_around = block(to_around, around, present=present)
        fused = self.fusion_norm(to_own + to_around)[:, 0]
        weights = present.to(around.dtype)[..., None]
        mean = (around * weights).sum(dim=1) / weights.sum(dim=1)
        parts = (fused, own.mean(dim=1), mean, whole)
        return Outputs(*(in_full(self.heads[name], x) for name, x in zip(Outputs._fields, parts, strict=True)))


def initialise(network: TriplexNetwork, mean: Tensor) -> None:
    """Let every head start at the training mean (genes,)."""
    with torch.no_grad():
        for head in network.heads.values():
            head.bias.copy_(mean)  # type: ignore[operator]


def losses(outputs: Outputs, y: Tensor, share: float = 0.3) -> dict[str, Tensor]:
    """MSE of the fused prediction, and of each branch (1 - share) to the truth and `share` to the fused, both sides learning."""
    found = {"fused": (outputs.fused - y).square().mean()}
    for name in ("target", "neighbour", "whole"):
        branch: Tensor = getattr(outputs, name)
        to_truth, to_fused = (branch - y).square().mean(), (outputs.fused - branch).square().mean()
        found[name] = (1 - share) * to_truth + share * to_fused
    return found

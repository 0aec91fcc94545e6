"""HisToGene's network (Pang, Su, Li 2021; maxpmx/HisToGene): a pre-norm transformer over the spots of a section."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ..precision import in_full


class Attention(nn.Module):
    """Multi-head self-attention over a sequence (b, n, dim); no bias in the projections to queries, keys and values."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Float (b, n, dim) -> (b, n, dim)."""
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(q, k, v)
        out: Tensor = self.dropout(self.out(mixed.transpose(1, 2).reshape(b, n, -1)))
        return out


class Block(nn.Module):
    """Attention, then an MLP, each behind a LayerNorm and added to its input."""

    def __init__(self, dim: int, heads: int, head_dim: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, head_dim, dropout)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Float (b, n, dim) -> (b, n, dim)."""
        x = x + self.attention(self.attention_norm(x))
        x = x + self.mlp(self.mlp_norm(x))
        return x


class HisToGeneNetwork(nn.Module):
    """Linear embedding of each spot, plus embeddings of its array column and row, then the transformer and a head.

    `forward(spots, positions)`: float (b, n, inputs), sections of n spots, and int64 (b, n, 2), array x and y in
    0..positions-1 -> expression (b, n, genes). For the published model `inputs` is 3 p^2: the patch's pixels, 0..255,
    flattened in the order (x, y, channel).
    """

    def __init__(
        self,
        genes: int,
        inputs: int,
        *,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp: int,
        dropout: float,
        positions: int,
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(inputs, dim)
        self.x_embedding = nn.Embedding(positions, dim)
        self.y_embedding = nn.Embedding(positions, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, head_dim, mlp, dropout) for _ in range(depth))
        self.head_norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, genes)

    def forward(self, spots: Tensor, positions: Tensor) -> Tensor:
        """Float (b, n, inputs) and int64 (b, n, 2) -> float (b, n, genes), the head in fp32."""
        x = self.embedding(spots) + self.x_embedding(positions[..., 0]) + self.y_embedding(positions[..., 1])
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return in_full(self.head, self.head_norm(x))


def flatten_patches(patches: Tensor, size: int) -> Tensor:
    """The middle `size` pixels of uint8 patches (n, h, w, 3) as float32 (n, 3 size^2), 0..255, in the order (x, y, channel)."""
    top, left = (patches.shape[1] - size) // 2, (patches.shape[2] - size) // 2
    middle = patches[:, top : top + size, left : left + size]
    return middle.transpose(1, 2).reshape(len(patches), -1).to(torch.float32)

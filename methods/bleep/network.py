"""BLEEP's two projection heads and its contrastive loss (Xie et al. 2023; bowang-lab/BLEEP)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softmax

from ..precision import outside_autocast


class ProjectionHead(nn.Module):
    """Linear, GELU, Linear, dropout, plus the first Linear's output, LayerNorm: (n, inputs) -> (n, width)."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, width)
        self.gelu = nn.GELU()
        self.fc = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Float (n, inputs) -> (n, width), normalised by the LayerNorm, not to unit length."""
        projected = self.projection(x)
        out: Tensor = self.layer_norm(projected + self.dropout(self.fc(self.gelu(projected))))
        return out


class BLEEPNetwork(nn.Module):
    """Image encoder (a backbone, or the identity on features) and the heads of both modalities.

    `forward(image, expression)` gives both embeddings, (n, width) each, not normalised. `image` is float32
    (n, feature_dim), or pixels (n, 3, h, w) normalised as the backbone wants; `expression` float32 (n, genes), log1p.
    """

    def __init__(
        self, genes: int, feature_dim: int, width: int, dropout: float, backbone: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.image_encoder = nn.Identity() if backbone is None else backbone
        self.image_projection = ProjectionHead(feature_dim, width, dropout)
        self.spot_projection = ProjectionHead(genes, width, dropout)

    def embed_image(self, image: Tensor) -> Tensor:
        """Features (n, feature_dim) or pixels (n, 3, h, w) -> (n, width)."""
        embedded: Tensor = self.image_projection(self.image_encoder(image))
        return embedded

    def embed_expression(self, expression: Tensor) -> Tensor:
        """log1p expression (n, genes) -> (n, width)."""
        embedded: Tensor = self.spot_projection(expression)
        return embedded

    def forward(self, image: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, width) of both modalities, the image's first."""
        return self.embed_image(image), self.embed_expression(expression)


@outside_autocast
def contrastive_loss(image: Tensor, spot: Tensor, temperature: float) -> Tensor:
    """Mean over rows of the cross entropy with smoothed targets, both ways; embeddings (n, width), gradient not stopped.

    logits = Z_spot Z_img^T / t; targets = softmax over rows of (Z_img Z_img^T + Z_spot Z_spot^T) / 2 / t; the loss is the mean of
    CE(logits, targets) and CE(logits^T, targets^T), as in the public code.
    """
    logits = spot @ image.T / temperature
    targets = softmax((image @ image.T + spot @ spot.T) / 2 / temperature, dim=-1)
    by_spot = -(targets * log_softmax(logits, dim=-1)).sum(dim=1)
    by_image = -(targets.T * log_softmax(logits.T, dim=-1)).sum(dim=1)
    return ((by_spot + by_image) / 2).mean()


def retrieval_recall(image: Tensor, spot: Tensor, ks: tuple[int, ...] = (1, 10, 50)) -> dict[str, float]:
    """Share of images whose own spot is among the k nearest of all spots given, by cosine: (n, width) each."""
    from ..retrieval import nearest

    _, rows = nearest(image, spot, max(ks))
    own = rows == torch.arange(len(image), device=rows.device)[:, None]
    return {f"validation_recall_{k}": float(own[:, :k].any(dim=1).float().mean()) for k in ks}


def retrieve(
    queries: Tensor, references: Tensor, expression: Tensor, kind: Literal["average", "simple", "weighted"], k: int
) -> Tensor:
    """Expression of the references found by cosine similarity: queries (q, width), references (r, width) -> (q, genes).

    Embeddings come as the heads give them. `weighted` uses exp(-(d_i^2 - d_0^2 + 1)), d their Euclidean distance, so it
    is nearly the nearest alone.
    """
    from ..retrieval import mean_rows, nearest

    _, rows = nearest(queries, references, 1 if kind == "simple" else k)
    if kind != "weighted":
        return mean_rows(expression, rows)
    squared = torch.stack([(references[column] - queries).square().sum(dim=1) for column in rows.T], dim=1)
    weights = torch.exp(-(squared - squared[:, :1] + 1))
    return mean_rows(expression, rows, weights / weights.sum(dim=1, keepdim=True))

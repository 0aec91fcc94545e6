"""Hist2ST's network (Zeng et al. 2022; biomed-AI/Hist2ST): ConvMixer, transformer, graph layers, LSTM over their outputs."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, relu, softplus
from typing_extensions import override

from ..histogene.network import Block
from ..precision import in_full
from ..sections.graph import neighbour_mean
from ..sections.recompute import KEPT, over_section, recomputed
from .parameters import LEAST_CHANNELS, STRIDE, Hist2STParameters

CHUNK = 256  # spots whose patches are embedded at a time, where nothing is learned
MEAN_RANGE, DISPERSION_RANGE = (1e-5, 1e6), (1e-4, 1e4)


class CountModel(NamedTuple):
    """A zero-inflated negative binomial for each spot and gene, (n, genes) each; `zero` is a logit."""

    mean: Tensor
    dispersion: Tensor
    zero: Tensor


class Mixer(nn.Module):
    """Two depth-wise convolutions with a residual around both, then a point-wise one whose GELU comes before its norm."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, groups=channels, padding="same"),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, kernel, groups=channels, padding="same"),
            nn.BatchNorm2d(channels),
            nn.GELU(),
        )
        self.pointwise = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.GELU(), nn.BatchNorm2d(channels))

    @override
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(x + self.depthwise(x))
        return out


class PatchEmbedding(nn.Module):
    """Pixels (n, 3, x, y), 0..255 -> (n, dim): seven-pixel squares, mixed, an eighth of the channels, flattened."""

    def __init__(self, p: Hist2STParameters) -> None:
        super().__init__()
        self.squares = nn.Conv2d(3, p.channels, STRIDE, stride=STRIDE)
        self.dropout = nn.Dropout(p.dropout)
        self.mixers = nn.Sequential(*(Mixer(p.channels, p.mixer_kernel) for _ in range(p.mixers)))
        self.down = nn.Conv2d(p.channels, p.channels // LEAST_CHANNELS, 1)

    @override
    def forward(self, pixels: Tensor) -> Tensor:
        large = len(pixels) > KEPT
        x = recomputed(large, self, self._squares, pixels)
        for mixer in self.mixers:
            x = recomputed(large, mixer, mixer, x)
        out: Tensor = self.down(x).flatten(1)
        return out

    def _squares(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.squares(pixels.to(self.squares.weight.dtype)))
        return out


class GraphLayer(nn.Module):
    """The mean of the neighbours, without the spot itself, through one matrix and a ReLU, to length 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim))
        nn.init.xavier_uniform_(self.weight)

    @override
    def forward(self, x: Tensor, near: Tensor, share: Tensor) -> Tensor:
        return normalize(relu(linear(neighbour_mean(x, near, share), self.weight)), dim=1)


class Hist2STNetwork(nn.Module):
    """From a whole section to a vector of each spot, of which the heads predict.

    `forward(spots, positions, near, share)`: z-scored features (n, width), or pixels (n, 3, x, y), 0..255; int64 (n, 2),
    array x and y; the neighbours as in `Places` -> (prediction (n, genes), vector (n, dim)).
    """

    def __init__(self, genes: int, width: int, p: Hist2STParameters) -> None:
        super().__init__()
        self.pixels = p.inputs == "pixels"
        self.embedding: nn.Module = (
            PatchEmbedding(p) if self.pixels else nn.Sequential(nn.Linear(width, p.dim), nn.Dropout(p.dropout))
        )
        self.x_embedding = nn.Embedding(p.positions, p.dim)
        self.y_embedding = nn.Embedding(p.positions, p.dim)
        with torch.no_grad():
            for table in (self.x_embedding, self.y_embedding):
                table.weight.mul_(p.position_scale)
        self.blocks = nn.ModuleList(Block(p.dim, p.heads, p.head_dim, p.mlp, p.dropout) for _ in range(p.depth))
        self.graph = nn.ModuleList(GraphLayer(p.dim) for _ in range(p.graph_layers))
        self.jump = nn.LSTM(p.dim, p.dim, p.lstm_layers)
        self.head_norm = nn.LayerNorm(p.dim)
        self.head = nn.Linear(p.dim, genes)
        heads = ("mean", "dispersion", "zero") if p.zinb else ()
        self.counts = nn.ModuleDict({name: nn.Linear(p.dim, genes) for name in heads})
        self.view_score = nn.Sequential(nn.Linear(p.dim, p.dim), nn.ReLU(), nn.Linear(p.dim, 1)) if p.bake else None

    @override
    def forward(self, spots: Tensor, positions: Tensor, near: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embed(spots) + self.x_embedding(positions[:, 0]) + self.y_embedding(positions[:, 1])
        large = self.large(spots)
        for block in self.blocks:
            x = recomputed(large, block, partial(over_section, block), x)
        layers = []
        for layer in self.graph:
            x = recomputed(large, layer, layer, x, near, share)
            layers.append(x)
        vector = recomputed(large, self.jump, self._jump, *layers)
        return in_full(self.head, self.head_norm(vector)), vector

    def large(self, spots: Tensor, passes: int = 1) -> bool:
        """Whether what comes of a section's patches, in so many passes over it, is more than is kept for the gradients."""
        return self.pixels and passes * len(spots) > KEPT

    def _jump(self, *layers: Tensor) -> Tensor:
        out: Tensor = self.jump(torch.stack(layers))[0].mean(dim=0)
        return out

    def embed(self, spots: Tensor) -> Tensor:
        """(n, dim) of each spot alone; in chunks where nothing is learned, as batch statistics are of a whole section."""
        if self.training or not self.pixels:
            out: Tensor = self.embedding(spots)
            return out
        return torch.cat([self.embedding(part) for part in spots.split(CHUNK)])

    def count_model(self, vector: Tensor) -> CountModel:
        """What the counts are held to follow, for spots of size factor 1."""
        mean, dispersion, zero = (in_full(self.counts[name], vector) for name in ("mean", "dispersion", "zero"))
        # The bounds of the mean stand before the exponential, which would else overflow into a gradient of 0 * inf.
        low, high = map(math.log, MEAN_RANGE)
        return CountModel(mean.clamp(low, high).exp(), softplus(dispersion).clamp(*DISPERSION_RANGE), zero)

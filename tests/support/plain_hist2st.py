"""Hist2ST written out plainly, with the tensor names of the public checkpoint; nothing of ours is used."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PlainHist2ST(nn.Module):
    """Evaluation mode only: no dropout. `forward(pixels (n, 3, x, y), centres (n, 2), adjacency (n, n))`."""

    def __init__(self, genes: int, side: int, channels: int, mixers: int, depth: int, heads: int, graph: int) -> None:
        super().__init__()
        dim = side * side * channels // 8
        self.heads = heads
        self.patch_embedding = nn.Conv2d(3, channels, 7, 7)
        self.x_embed, self.y_embed = nn.Embedding(64, dim), nn.Embedding(64, dim)
        layers = nn.Module()
        layers.layer1 = nn.Sequential(*(self._mixer(channels) for _ in range(mixers)))
        layers.layer2 = nn.Sequential(*(self._block(dim, heads) for _ in range(depth)))
        layers.layer3 = nn.ModuleList()
        for _ in range(graph):
            layer = nn.Module()
            layer.weight = nn.Parameter(torch.randn(dim, dim) / math.sqrt(dim))
            layers.layer3.append(layer)
        layers.jknet = nn.Sequential(nn.LSTM(dim, dim, 2), nn.Identity())
        layers.down = nn.Sequential(nn.Conv2d(channels, channels // 8, 1), nn.Flatten())
        self.vit = nn.Module()
        self.vit.transformer = layers
        self.mean = nn.Sequential(nn.Linear(dim, genes), nn.Identity())
        self.disp = nn.Sequential(nn.Linear(dim, genes), nn.Identity())
        self.pi = nn.Sequential(nn.Linear(dim, genes), nn.Sigmoid())
        self.coef = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))
        self.gene_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, genes))

    @staticmethod
    def _mixer(channels: int) -> nn.Module:
        mixer = nn.Module()
        mixer.dw = nn.ModuleList(
            [
                nn.Conv2d(channels, channels, 5, groups=channels, padding=2),
                nn.BatchNorm2d(channels),
                nn.GELU(),
                nn.Conv2d(channels, channels, 5, groups=channels, padding=2),
                nn.BatchNorm2d(channels),
            ]
        )
        mixer.pw = nn.ModuleList([nn.Conv2d(channels, channels, 1), nn.GELU(), nn.BatchNorm2d(channels)])
        return mixer

    @staticmethod
    def _block(dim: int, heads: int) -> nn.Module:
        block = nn.Module()
        block.attn, block.ff = nn.Module(), nn.Module()
        block.attn.norm, block.ff.norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        block.attn.fn, block.ff.fn = nn.Module(), nn.Module()
        block.attn.fn.to_qkv = nn.Linear(dim, 3 * heads * 64, bias=False)
        block.attn.fn.to_out = nn.ModuleList([nn.Linear(heads * 64, dim)])
        block.ff.fn.net = nn.ModuleList([nn.Linear(dim, dim), nn.GELU(), nn.Identity(), nn.Linear(dim, dim)])
        return block

    def forward(self, pixels: Tensor, centres: Tensor, adjacency: Tensor) -> tuple[Tensor, ...]:
        layers, gelu = self.vit.transformer, nn.functional.gelu
        x = self.patch_embedding(pixels)
        for mixer in layers.layer1:
            first = gelu(mixer.dw[1](mixer.dw[0](x)))
            x = x + gelu(mixer.dw[4](mixer.dw[3](first)))
            x = mixer.pw[2](gelu(mixer.pw[0](x)))
        x = layers.down(x) + self.x_embed(centres[:, 0]) + self.y_embed(centres[:, 1])
        for block in layers.layer2:
            q, k, v = block.attn.fn.to_qkv(block.attn.norm(x)).chunk(3, dim=1)
            seen = []
            for head in range(self.heads):
                a, b, c = (t[:, 64 * head : 64 * (head + 1)] for t in (q, k, v))
                seen.append(torch.softmax(a @ b.T / 8, dim=1) @ c)
            x = x + block.attn.fn.to_out[0](torch.cat(seen, dim=1))
            hidden = gelu(block.ff.fn.net[0](block.ff.norm(x)))
            x = x + block.ff.fn.net[3](hidden)
        sequence = []
        for layer in layers.layer3:
            x = torch.clamp_min(adjacency @ x / adjacency.sum(dim=1, keepdim=True) @ layer.weight.T, 0)
            x = x / x.norm(dim=1, keepdim=True).clamp_min(1e-12)
            sequence.append(x)
        vector = layers.jknet[0](torch.stack(sequence))[0].mean(dim=0)
        mean = torch.clamp(torch.exp(self.mean[0](vector)), 1e-5, 1e6)
        dispersion = torch.clamp(nn.functional.softplus(self.disp[0](vector)), 1e-4, 1e4)
        return self.gene_head(vector), mean, dispersion, self.pi(vector), self.coef(vector)


def adjacency(xy: Tensor, k: int = 4, within: float = 2.0) -> Tensor:
    """Directed, without loops: 1 for the k nearest spots where they are at most `within` away, by brute force."""
    far = torch.cdist(xy.double(), xy.double())
    found = torch.zeros(len(xy), len(xy), dtype=torch.float64)
    for i in range(len(xy)):
        others = [j for j in range(len(xy)) if j != i]
        for j in sorted(others, key=lambda j: (round(float(far[i, j]), 6), *xy[j].tolist()))[:k]:
            found[i, j] = float(far[i, j] <= within)
    return found

"""QCA's network: image side, quantiser, gene encoder and mirrored decoder."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..precision import in_full, outside_autocast
from .fsq import FSQ
from .parameters import QCAParameters


class QCANetwork(nn.Module):
    """Everything that QCA trains. Where training is in bf16, its backbone is; the rest moved the MSE by 6 % and costs little.

    `forward(x)` is the inference path: image features float32 (n, feature_dim), or pixels float32 (n, 3, h, w)
    normalised as its `backbone` wants where it has one, to predicted expression (n, genes) in target space.
    """

    gene_mean: Tensor

    def __init__(self, genes: int, feature_dim: int, p: QCAParameters, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        latent = p.latent
        self.adapter: nn.Module
        if p.image_encoder == "adapter":
            self.adapter = nn.Sequential(
                nn.Dropout(p.dropout), nn.Linear(feature_dim, latent), nn.GELU(), nn.Linear(latent, latent)
            )
            feature_dim = latent
        else:
            self.adapter = nn.Identity()
        self.quantiser = Quantiser(feature_dim, latent, p)
        widths = [genes, *p.hidden, latent]
        self.gene_encoder = nn.ModuleList(
            _layer(a, b, normalised=p.layer_norm and i > 0, last=i == len(p.hidden))
            for i, (a, b) in enumerate(pairwise(widths))
        )
        mirrored = widths[::-1]
        self.decoder = nn.ModuleList(
            _layer(a, b, normalised=p.layer_norm and i < len(p.hidden) - 1, last=i == len(p.hidden))
            for i, (a, b) in enumerate(pairwise(mirrored))
        )
        self.register_buffer("gene_mean", torch.zeros(genes))
        self._centre = p.centre_genes

    @property
    def input_weight(self) -> Tensor:
        """W^(1) of the gene encoder, (hidden, genes); column i belongs to gene i."""
        return _linear(self.gene_encoder[0]).weight

    @property
    def output_bias(self) -> Tensor:
        """Bias of the decoder's last layer, (genes,)."""
        return _linear(self.decoder[-1]).bias

    def image_features(self, x: Tensor) -> Tensor:
        """H_img, (n, latent) (or (n, feature_dim) of a frozen encoder without adapter)."""
        return in_full(self.adapter, x if self.backbone is None else self.backbone(x))

    @outside_autocast
    def encode(self, expression: Tensor) -> list[Tensor]:
        """H_enc^(0) .. H_enc^(L): the expression itself, then each layer's output."""
        levels = [expression]
        below = expression - self.gene_mean if self._centre else expression
        for layer in self.gene_encoder:
            below = layer(below)
            levels.append(below)
        return levels

    @outside_autocast
    def decode(self, quantised: Tensor) -> list[Tensor]:
        """H_dec^(0) .. H_dec^(L): level 0 is the prediction (no further layer), level L the quantised features."""
        levels = [quantised]
        for layer in self.decoder:
            levels.append(layer(levels[-1]))
        return levels[::-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.quantiser(self.image_features(x))[0])[0]


class Quantiser(nn.Module):
    """GIFQ: Linear down, FSQ, Linear up; `none` is the identity (a Linear where the widths differ).

    `forward` gives the decoder's input (n, latent) and the code indices int64 (n,), None for `none`.
    """

    def __init__(self, width: int, latent: int, p: QCAParameters) -> None:
        super().__init__()
        self.fsq: FSQ | None = None
        self.down: nn.Module = nn.Identity()
        self.up: nn.Module = nn.Identity() if width == latent else nn.Linear(width, latent)
        if p.quantizer != "none":
            self.fsq = FSQ(p.fsq_levels, rounding=p.quantizer == "fsq")
            self.down = nn.Linear(width, len(p.fsq_levels))
            self.up = nn.Linear(len(p.fsq_levels), latent)

    @outside_autocast
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.fsq is None:
            return self.up(features), None
        codes, index = self.fsq(self.down(features))
        return self.up(codes), index


def _layer(inputs: int, outputs: int, normalised: bool, last: bool) -> nn.Sequential:
    if last:
        return nn.Sequential(nn.Linear(inputs, outputs))
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs) if normalised else nn.Identity(), nn.GELU())


def _linear(layer: nn.Module) -> nn.Linear:
    return next(part for part in layer.modules() if isinstance(part, nn.Linear))


def initialise(network: QCANetwork, mean: Tensor) -> None:
    """Start at the mean predictor, as ST-Net does: the output bias is the training mean (genes,)."""
    with torch.no_grad():
        network.output_bias.copy_(mean)
        network.gene_mean.copy_(mean)

"""QCA's network: image side, quantiser, gene encoder and mirrored decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(p.temperature)), requires_grad=p.learn_temperature and p.alignment != "none"
        )
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
        """Image input (n, ...) -> predicted log1p expression (n, genes), unrounded."""
        return self.decode(self.quantiser(self.image_features(x)).features)[0]


class Quantiser(nn.Module):
    """GIFQ: image features (n, width) to the decoder's input (n, latent), through codes.

    LayerNorm, Linear into the space of the codes (the identity where all features are quantised), BatchNorm, FSQ or a
    learned codebook, Linear up. The norms keep tanh out of its flat ends, where codes stop to move. `none` has no codes: the
    features, with a Linear where the widths differ.
    """

    def __init__(self, width: int, latent: int, p: QCAParameters) -> None:
        super().__init__()
        self.fsq: FSQ | None = None
        self.vq: nn.Module | None = None
        self.norm: nn.Module = nn.LayerNorm(width) if p.feature_norm else nn.Identity()
        self.down: nn.Module = nn.Identity()
        self.code_norm: nn.Module = nn.Identity()
        space = width
        if p.quantizer != "none":
            if p.quantize == "projection":
                space = len(p.fsq_levels)
                self.down = nn.Linear(width, space)
            if p.code_norm:
                self.code_norm = nn.BatchNorm1d(space)
            if p.quantizer == "vq":
                self.vq = codebook(space, p.codebook)
            else:
                levels = tuple(p.fsq_levels[i % len(p.fsq_levels)] for i in range(space))
                self.fsq = FSQ(levels, rounding=p.quantizer == "fsq")
        self.up: nn.Module = nn.Identity() if space == latent else nn.Linear(space, latent)

    @property
    def n_codes(self) -> int | None:
        """Codes that there are, None without a quantiser."""
        if self.vq is not None:
            return int(self.vq.codebook_size)  # type: ignore[arg-type]
        return None if self.fsq is None else self.fsq.n_codes

    @outside_autocast
    def projected(self, features: Tensor) -> Tensor:
        """What code_norm brings to a scale, float32 (n, dimensions)."""
        values: Tensor = self.down(self.norm(features))
        return values

    @outside_autocast
    def code_space(self, features: Tensor) -> Tensor:
        """What is quantised, float32 (n, dimensions)."""
        values: Tensor = self.code_norm(self.projected(features))
        return values

    @outside_autocast
    def codes_of(self, z: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Codes of z in the space that is quantised, their indices, and the codebook's own loss; z itself without codes."""
        if self.vq is not None:
            codes, index, commitment = self.vq(z)
            return codes, index, commitment.sum()
        return (z, None, None) if self.fsq is None else (*self.fsq(z), None)

    @outside_autocast
    def forward(self, features: Tensor) -> Quantised:
        """Float (n, width) -> the decoder's input and the codes behind it; in fp32 whatever the autocast."""
        z = self.code_space(features)
        codes, index, commitment = self.codes_of(z)
        return Quantised(self.up(codes), z, index, commitment)


@dataclass(frozen=True)
class Quantised:
    """What the quantiser gives.

    Attributes:
        features: the decoder's input, (n, latent).
        z: what was quantised, (n, dimensions).
        index: of each spot's code, int64 (n,), None without codes.
        commitment: the codebook's own loss (vq), which training adds.
    """

    features: Tensor
    z: Tensor
    index: Tensor | None = None
    commitment: Tensor | None = None


def codebook(dimensions: int, codes: int) -> nn.Module:
    """A codebook trained by gradient (eq. 2 and 3; van den Oord et al. 2017), started at k-means of the first batch."""
    from vector_quantize_pytorch import VectorQuantize

    made: nn.Module = VectorQuantize(
        dim=dimensions,
        codebook_size=codes,
        kmeans_init=True,
        learnable_codebook=True,
        ema_update=False,
        rotation_trick=False,
        commitment_weight=1.0,
    )
    return made


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

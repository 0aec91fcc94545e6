"""QCA's losses: asymmetric cross-modal alignment, level-wise reconstruction, the L1 term and the rounded exponential.

Equation and line numbers are those of the QCA paper (ICLR 2025 submission, openreview Le823SjZEc) and its Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from ..precision import full, outside_autocast
from .parameters import QCAParameters

Alignment = Literal["none", "identical", "asymmetric"]
Similarity = Literal["dot", "cosine", "centred", "standardised"]


@dataclass(frozen=True)
class Aligned:
    """The alignment of a batch.

    Attributes:
        loss: scalar, with gradient.
        entropy: of its targets, the least value that the loss can take.
        active: share of the pairs of spots whose target differs from its own logits, the only ones with gradient.
    """

    loss: Tensor
    entropy: Tensor
    active: Tensor


@outside_autocast
def similarities(features: Tensor, temperature: float | Tensor, kind: Similarity = "cosine") -> Tensor:
    """Similarity of every pair of rows over the temperature: (n, d) -> (n, n), rows are spots.

    `dot` is Algorithm 1, line 9, to the letter; the others put the matrices of two modalities on one scale, without which
    the smaller of two similarities is that of the same modality throughout.
    """
    if kind == "dot":
        return features @ features.T / temperature
    if kind in ("centred", "standardised"):
        features = features - features.mean(dim=0)
    unit = normalize(features, dim=1)
    s = unit @ unit.T
    if kind == "standardised":
        off = s[~torch.eye(len(s), dtype=torch.bool, device=s.device)]
        s = (s - off.mean()) / off.std().clamp_min(1e-6) if len(off) > 2 else s
    return s / temperature


def soft_cross_entropy(logits: Tensor, target_logits: Tensor, raw: bool = False) -> tuple[Tensor, Tensor]:
    """Mean over rows of -sum target log_softmax(logits), and its least value over all logits.

    The target is softmax(target_logits), whose entropy is that value, or with `raw` target_logits themselves.
    """
    if raw:
        loss = -(target_logits * log_softmax(logits, dim=1)).sum(dim=1).mean()
        return loss, torch.full_like(loss, torch.nan)
    target_log = log_softmax(target_logits, dim=1)
    target = target_log.exp()
    entropy = -torch.where(target > 0, target * target_log, 0.0).sum(dim=1).mean()
    product = torch.where(target > 0, target * log_softmax(logits, dim=1), 0.0)
    return -product.sum(dim=1).mean(), entropy


def alignment_loss(image: Tensor, gene: Tensor, p: QCAParameters, temperature: float | Tensor) -> Aligned:
    """The alignment of image and gene features of the same spots, (n, d) each.

    `asymmetric`: (1 - alpha) CE(S_img, softmax min(S_img, S_gene)) + alpha CE(S_gene, softmax max(S_img, S_gene)), the
    weights of eq. (1) and of Algorithm 1, line 11. The logits of the second term are those of line 11; eq. (1) prints S_img
    there too (`second_logits="image"`), which leaves the gene encoder without logits. `identical`: each side against the
    softmax of the other, with the same weights.
    """
    s_image = similarities(image, temperature, p.similarity)
    s_gene = similarities(gene, temperature, p.similarity)
    if p.alignment == "asymmetric":
        for_image, for_gene = torch.minimum(s_image, s_gene), torch.maximum(s_image, s_gene)
    else:
        for_image, for_gene = s_gene, s_image
    if p.detach_targets:
        for_image, for_gene = for_image.detach(), for_gene.detach()
    own = torch.eye(len(s_image), dtype=torch.bool, device=s_image.device)
    n = len(own)  # picking the pairs by a mask would have the host wait for the device
    active = (for_image != s_image).masked_fill(own, False).float().sum().detach() / (n * n - n)
    second = s_gene if p.second_logits == "gene" else s_image
    if p.mask_diagonal:
        raw = p.alignment_targets == "raw"
        low = torch.finfo(s_image.dtype).min
        s_image, second = s_image.masked_fill(own, low), second.masked_fill(own, low)
        for_image, for_gene = (s.masked_fill(own, 0.0 if raw else low) for s in (for_image, for_gene))
    image_loss, image_entropy = soft_cross_entropy(s_image, for_image, p.alignment_targets == "raw")
    gene_loss, gene_entropy = soft_cross_entropy(second, for_gene, p.alignment_targets == "raw")
    return Aligned(
        (1 - p.alpha) * image_loss + p.alpha * gene_loss,
        ((1 - p.alpha) * image_entropy + p.alpha * gene_entropy).detach(),
        active,
    )


@outside_autocast
def rounded(prediction: Tensor) -> Tensor:
    """log1p(round(expm1(x))) of x clamped at 0, with a straight-through gradient (the paper's rounded exponential)."""
    positive = prediction.clamp_min(0.0)
    return prediction + (torch.log1p(torch.expm1(positive).round()) - prediction).detach()


def reconstruction_loss(
    encoded: list[Tensor], decoded: list[Tensor], levels: tuple[int, ...], stop_grad_encoder_targets: bool
) -> Tensor:
    """Sum over the levels of the mean squared difference; level 0 is expression, the last is the quantised features."""
    terms = [
        (full(encoded[level].detach() if stop_grad_encoder_targets else encoded[level]) - full(decoded[level]))
        .square()
        .mean()
        for level in levels
    ]
    return torch.stack(terms).sum()


def l1_term(weight: Tensor, reduction: Literal["gene_mean", "sum", "mean"]) -> Tensor:
    """L1 of the gene encoder's first weight (hidden, genes): mean over genes of each gene's norm, sum, or mean."""
    absolute = weight.abs()
    if reduction == "gene_mean":
        return absolute.sum(dim=0).mean()
    return absolute.sum() if reduction == "sum" else absolute.mean()

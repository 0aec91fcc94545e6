"""QCA's losses: asymmetric cross-modal alignment, level-wise reconstruction, the L1 term and the rounded exponential.

Equation and line numbers are those of the QCA paper (ICLR 2025 submission, openreview Le823SjZEc) and its Algorithm 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from ..precision import full, outside_autocast

Alignment = Literal["none", "identical", "asymmetric"]


@outside_autocast
def similarities(features: Tensor, temperature: float) -> Tensor:
    """Cosine similarity of every pair of rows over the temperature: (n, d) -> (n, n), rows are samples."""
    unit = normalize(features, dim=1)
    return unit @ unit.T / temperature


def soft_cross_entropy(logits: Tensor, target_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over rows of -sum softmax(target) log_softmax(logits), and of the target's entropy, its least value."""
    target_log = log_softmax(target_logits, dim=1)
    target = target_log.exp()
    entropy = -torch.where(target > 0, target * target_log, 0.0).sum(dim=1).mean()
    product = torch.where(target > 0, target * log_softmax(logits, dim=1), 0.0)
    return -product.sum(dim=1).mean(), entropy


def alignment_loss(
    image: Tensor,
    gene: Tensor,
    *,
    kind: Alignment,
    alpha: float,
    temperature: float,
    detach_targets: bool,
    mask_diagonal: bool,
) -> tuple[Tensor, Tensor]:
    """Loss and the mean entropy of its targets, for image and gene features of the same spots, (n, d) each.

    `asymmetric` (Algorithm 1, lines 9 to 11): alpha CE(S_img, softmax min(S_img, S_gene)) + (1 - alpha)
    CE(S_gene, softmax max(S_img, S_gene)); the paper's eq. (1) has S_img in the second term too, which would leave the
    gene encoder without logits. `identical`: each side against the softmax of the other, with the same weights.
    """
    s_image, s_gene = similarities(image, temperature), similarities(gene, temperature)
    if kind == "asymmetric":
        for_image, for_gene = torch.minimum(s_image, s_gene), torch.maximum(s_image, s_gene)
    else:
        for_image, for_gene = s_gene, s_image
    if detach_targets:
        for_image, for_gene = for_image.detach(), for_gene.detach()
    if mask_diagonal:
        own = torch.eye(len(s_image), dtype=torch.bool, device=s_image.device)
        s_image, s_gene, for_image, for_gene = (
            s.masked_fill(own, torch.finfo(s.dtype).min) for s in (s_image, s_gene, for_image, for_gene)
        )
    image_loss, image_entropy = soft_cross_entropy(s_image, for_image)
    gene_loss, gene_entropy = soft_cross_entropy(s_gene, for_gene)
    return (
        alpha * image_loss + (1 - alpha) * gene_loss,
        (alpha * image_entropy + (1 - alpha) * gene_entropy).detach(),
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

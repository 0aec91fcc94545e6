"""Hist2ST's losses beside the squared error: the likelihood of the counts, and self-distillation over augmented views."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softmax

from ..precision import outside_autocast

GRAYSCALE, FLIP, TURN = 0.1, 0.2, 90.0  # probabilities of a view, and the largest angle in degrees


def size_factors(counts: Tensor) -> Tensor:
    """Total of each spot over the median total of the section, (n, genes) -> (n, 1); a median of 0 counts as 1."""
    total = counts.sum(dim=1, keepdim=True)
    return total / total.quantile(0.5).clamp_min(1.0)


@outside_autocast
def zinb_loss(counts: Tensor, mean: Tensor, dispersion: Tensor, zero: Tensor) -> Tensor:
    """Mean negative log-likelihood, over spots and genes, of zero-inflated negative binomials.

    Args:
        counts: (n, genes).
        mean: (n, genes), of the negative binomial, size factor included; 0 only for spots without a count.
        dispersion: (n, genes), its number of failures r, so that the variance is mean + mean^2 / r.
        zero: (n, genes), logit of the probability of a zero that is not the binomial's.
    """
    mean = mean.clamp_min(1e-12)
    no_count = -dispersion * torch.log1p(mean / dispersion)  # log probability of the binomial's zero
    of_binomial = logsigmoid(-zero) + no_count
    everywhere = torch.where(counts == 0, torch.logaddexp(logsigmoid(zero), of_binomial), of_binomial)
    # The gamma functions cost most, so they are taken where there is a count.
    some = counts.flatten().nonzero().flatten()
    y, r, m = (values.flatten().index_select(0, some) for values in (counts, dispersion, mean))
    further = torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1) + y * (m.log() - (r + m).log())
    return -(everywhere.sum() + further.sum()) / counts.numel()


def augmented(pixels: Tensor) -> Tensor:
    """One view of a whole section, uint8 (n, 3, x, y): all patches perhaps grey, turned alike and perhaps mirrored."""
    from torchvision.transforms.v2 import functional as images  # here: features are not augmented, and need none of it

    grey, angle, flip = torch.rand(3).tolist()
    if grey < GRAYSCALE:
        pixels = images.rgb_to_grayscale(pixels, num_output_channels=3)
    pixels = images.rotate(pixels, (2 * angle - 1) * TURN)
    return images.horizontal_flip(pixels) if flip < FLIP else pixels


@outside_autocast
def distillation_loss(prediction: Tensor, views: Tensor, scores: Tensor) -> Tensor:
    """Squared error between a prediction (n, genes) and the mixture of its views (v, n, genes), weighed by softmax(scores (v, n, 1))."""
    mixture = (softmax(scores, dim=0) * views).sum(dim=0)
    return (mixture - prediction).square().mean()

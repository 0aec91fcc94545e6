"""XFuse's model of expression: metagenes of each cell, added up over a spot's disk, to negative binomials of its counts."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, Normal, kl_divergence
from torch.nn.functional import softplus

from ..precision import full, outside_autocast
from .network import MOMENTUM, SLOPE

BASELINE_SPEED = 5.0  # times the learning rate: Adam steps what is stored, and what is used is this times as large
EFFECT_SPEED = 2.0
START_SD = 0.01  # of the effects' posteriors
PRIOR_SD = 0.1  # where the effects' priors start
LEAST_COUNT = 1e-8  # of a negative binomial's total count
LEAST_ODDS = 1e-2  # variance over mean, less 1, of a gene that varies no more than a Poisson count


def inverse_softplus(x: float) -> float:
    """The number whose softplus is x."""
    return x + math.log(-math.expm1(-x))


class Effects(nn.Module):
    """Log fold changes of each gene in some conditions: Normal posteriors, and Normal(0, sd of the gene) priors with learned sd."""

    def __init__(self, conditions: int, genes: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(conditions, genes))
        self.spread = nn.Parameter(torch.full((conditions, genes), inverse_softplus(START_SD) / EFFECT_SPEED))
        self.prior = nn.Parameter(torch.full((genes,), inverse_softplus(PRIOR_SD)))

    def posterior(self) -> Normal:
        """Normal (conditions, genes)."""
        sd = softplus(EFFECT_SPEED * self.spread)
        return Normal(EFFECT_SPEED * self.mean, sd, validate_args=False)

    def divergence(self) -> Tensor:
        """KL divergence of each condition's effects from their prior, summed over genes: (conditions,)."""
        prior = Normal(torch.zeros_like(self.prior), softplus(self.prior), validate_args=False)
        return kl_divergence(self.posterior(), prior).sum(dim=1)


class Activity(nn.Module):
    """`forward(state, weight, active)` -> how much of each metagene a spot has, (n, metagenes).

    A cell's share of each metagene is a softmax over those that are active, times its scale; both are summed over the
    cells by their weight, so that the scale is that of a spot which looks all over as the cell does.
    """

    def __init__(self, width: int, metagenes: int) -> None:
        super().__init__()
        self.shared = self._layer(width)
        self.metagene = nn.Linear(width, metagenes)
        self.before_scale = self._layer(width)
        self.scale = nn.Linear(width, 1)
        with torch.no_grad():
            self.scale.weight.zero_()
            self.scale.bias.fill_(inverse_softplus(1.0))

    @staticmethod
    def _layer(width: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width, momentum=MOMENTUM), nn.LeakyReLU(SLOPE))

    def forward(self, state: Tensor, weight: Tensor, active: Tensor) -> Tensor:
        """Of the cells of each disk: state (n, width, cells), weight (cells,), active bool (metagenes,)."""
        n, width, cells = state.shape
        x = state.transpose(1, 2).reshape(n * cells, width)
        logits = full(self.metagene(self.shared(x))).masked_fill(~active, -math.inf)
        scale = softplus(full(self.scale(self.before_scale(x))))
        amounts = (scale * logits.softmax(dim=1)).reshape(n, cells, -1)
        return (amounts * weight[:, None]).sum(dim=1)


class Expression(nn.Module):
    """Negative binomials of a spot's counts from its metagenes, with effects of the conditions that its section is of.

    Args:
        rate, logit: of each gene over all training spots, (genes,): log total count, and log odds.
        metagenes: most of them; one is active at first.
        conditions: levels of each covariate by its name.
    """

    active: Tensor

    def __init__(self, rate: Tensor, logit: Tensor, metagenes: int, conditions: Mapping[str, int]) -> None:
        super().__init__()
        genes = len(rate)
        self.rate = nn.Parameter(rate / BASELINE_SPEED)
        self.logit = nn.Parameter(logit / BASELINE_SPEED)
        self.metagenes = Effects(metagenes, genes)
        self.on_rate = nn.ModuleDict({name: Effects(levels, genes) for name, levels in conditions.items()})
        self.on_logit = nn.ModuleDict({name: Effects(levels, genes) for name, levels in conditions.items()})
        self.register_buffer("active", torch.arange(metagenes) == 0)

    def draw(self) -> Tensor:
        """Effects of the metagenes from their posterior, (metagenes, genes); of a single metagene nothing is learned."""
        drawn: Tensor = self.metagenes.posterior().rsample()
        return torch.where(self.active.sum() > 1, drawn, drawn.detach())

    def counts(
        self,
        activity: Tensor,
        effects: Tensor,
        levels: Mapping[str, Tensor] | None = None,
        drawn: bool = False,
    ) -> NegativeBinomial:
        """Negative binomial (n, genes) of the counts.

        Args:
            activity: of each metagene, (n, metagenes).
            effects: of each metagene, (metagenes, genes).
            levels: of each covariate's conditions that of the spots, int64 (n,); None leaves their effects out.
            drawn: take the conditions' effects from their posterior, once for all spots of each; else its mean.
        """
        rate, logit = BASELINE_SPEED * self.rate, BASELINE_SPEED * self.logit
        for name, level in (levels or {}).items():
            rate = rate + _condition(self.on_rate[name], level, drawn)
            logit = logit + _condition(self.on_logit[name], level, drawn)
        total = outside_autocast(torch.matmul)(activity, effects.exp()) * rate.exp() + LEAST_COUNT
        return NegativeBinomial(total, logits=logit.expand_as(total), validate_args=False)

    def divergence(self) -> Tensor:
        """KL divergence of all effects from their priors, a scalar; of metagenes those of several active ones."""
        several = self.active & (self.active.sum() > 1)
        total = torch.where(several, self.metagenes.divergence(), 0.0).sum()
        for effects in (*self.on_rate.values(), *self.on_logit.values()):
            total = total + effects.divergence().sum()  # type: ignore[operator]
        return total


def _condition(effects: nn.Module, level: Tensor, drawn: bool) -> Tensor:
    """Effects (n, genes) of each spot's condition."""
    assert isinstance(effects, Effects)
    posterior = effects.posterior()
    return (posterior.rsample() if drawn else posterior.loc)[level]


def baseline(counts: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Log total count and log odds of the negative binomial of each gene that has the moments of all spots, (genes,).

    Args:
        counts: int64 (n, genes); a gene without any is taken for one of half a count in all spots.
    """
    mean = np.maximum(counts.mean(axis=0), 0.5 / len(counts))
    odds = np.maximum(counts.var(axis=0) / mean - 1, LEAST_ODDS)
    return torch.from_numpy(np.log(mean / odds)).float(), torch.from_numpy(np.log(odds)).float()

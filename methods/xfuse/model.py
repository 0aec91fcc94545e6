"""XFuse's whole model: one latent state from which image and counts come, learned by the evidence lower bound of both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from ..sections.recompute import recomputed
from .expression import Activity, Expression
from .network import Decoder, ImageLikelihood, Inference, large


def latent(mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
    """A draw from Normal(mean, sd), (n, ...), and its KL divergence from Normal(0, 1), (n,)."""
    posterior = Normal(mean, sd, validate_args=False)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(sd), validate_args=False)
    return posterior.rsample(), kl_divergence(posterior, prior).sum(dim=(1, 2, 3))


class XFuseNetwork(nn.Module):
    """Inference, decoder, and what both sides of the data are made of.

    Args:
        channels: of what inference reads; the first `len(mean)` of them are the image that is explained.
        mean: of the image's channels over the training spots.
        bounded: whether the image lies in -1 .. 1.
        width, levels: of the latent state.
        expression: the model of the counts.
    """

    def __init__(
        self, channels: int, mean: Tensor, bounded: bool, width: int, levels: int, expression: Expression
    ) -> None:
        super().__init__()
        self.explained = len(mean)
        self.inference = Inference(channels, width, levels)
        self.decoder = Decoder(width, levels)
        self.image = ImageLikelihood(width, mean, bounded)
        self.activity = Activity(width, len(expression.active))
        self.expression = expression

    def drawn(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The state of latents drawn from their posteriors, and each level's KL divergence from Normal(0, 1), (n,) each."""
        again = large(image)
        drawn = [recomputed(again, self, latent, p.loc, p.scale) for p in self.inference(image)]
        return self.decoder([value for value, _ in drawn]), [divergence for _, divergence in drawn]

    def loss(
        self, image: Tensor, counts: Tensor, levels: Mapping[str, Tensor], disk: tuple[Tensor, Tensor], spots: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The negative evidence lower bound of a spot, mean over the batch, and its terms.

        Args:
            image: float (n, channels, edge, edge).
            counts: float (n, genes).
            levels: of each covariate the conditions of the spots, int64 (n,).
            disk: the cells that a spot covers, int64 (cells,), and their weights.
            spots: of the training side, which share the effects' divergence.
        """
        state, divergence = self.drawn(image)
        index, weight = disk
        cells = state.flatten(2)[:, :, index]
        activity = recomputed(large(image), self.activity, self.activity, cells, weight, self.expression.active)
        given = self.expression.counts(activity, self.expression.draw(), levels, drawn=True)
        terms = {
            "image": self.image(state).log_prob(image[:, : self.explained]).sum(dim=(1, 2, 3)).mean(),
            "counts": given.log_prob(counts).sum(dim=1).mean(),
            **{f"kl_{level}": each.mean() for level, each in enumerate(divergence, start=1)},
            "kl_effects": self.expression.divergence() / spots,
        }
        kl = torch.stack([value for name, value in terms.items() if name.startswith("kl_")]).sum()
        return kl - terms["image"] - terms["counts"], terms

    def state_of(self, image: Tensor) -> Tensor:
        """The state of the latents' posterior means."""
        state: Tensor = self.decoder([p.loc for p in self.inference(image)])
        return state

    def expected(self, image: Tensor, disk: tuple[Tensor, Tensor]) -> Tensor:
        """Mean count of each gene, (n, genes), at the means of the posteriors of latents and of the metagenes' effects."""
        index, weight = disk
        state = self.state_of(image)
        activity = self.activity(state.flatten(2)[:, :, index], weight, self.expression.active)
        found: Tensor = self.expression.counts(activity, self.expression.metagenes.posterior().loc).mean
        return found

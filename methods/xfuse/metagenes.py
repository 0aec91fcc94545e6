"""How XFuse finds the number of its metagenes: what is lost without each, splitting the useful, merging the useless."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from .expression import EFFECT_SPEED, Activity, Expression
from .model import XFuseNetwork

Batch = tuple[Tensor, Tensor, Mapping[str, Tensor]]
SAMPLES = 3  # of latents and effects that decide
APART = 0.1  # sd of what tells the two halves of a split metagene apart, in log fold change and of the weights' sd


def gains(network: XFuseNetwork, batches: Callable[[], Iterable[Batch]], disk: tuple[Tensor, Tensor]) -> Tensor:
    """What the log likelihood of a spot loses without each metagene, (metagenes,); 0 of those that are not active.

    With and without are compared on the same draws of latents and effects.

    Args:
        network: in evaluation mode.
        batches: images (n, channels, edge, edge), counts (n, genes) and conditions of training spots.
        disk: as in `XFuseNetwork.loss`.
    """
    expression, (index, weight) = network.expression, disk
    active = expression.active
    total = torch.zeros(len(active), dtype=torch.float64, device=active.device)
    several = torch.nonzero(active).flatten().tolist()
    if len(several) < 2:
        return total
    seen = 0
    with torch.no_grad():
        for _ in range(SAMPLES):
            for image, counts, levels in batches():
                cells = network.drawn(image)[0].flatten(2)[:, :, index]
                effects = expression.draw()
                masks = [
                    active,
                    *(active & (torch.arange(len(active), device=active.device) != one) for one in several),
                ]
                fits = [
                    expression.counts(network.activity(cells, weight, mask), effects, levels).log_prob(counts).sum()
                    for mask in masks
                ]
                total[several] += fits[0].double() - torch.stack(fits[1:]).double()
                seen += len(counts)
    return total / seen


def evolve(expression: Expression, activity: Activity, gain: Tensor) -> list[int]:
    """Merge the metagenes that nothing is lost without, then split the others in two, the best first, while there is room.

    A single one is always split. Returns the rows that are other metagenes than before.
    """
    active = expression.active
    there = torch.nonzero(active).flatten().tolist()
    order = sorted(there, key=lambda one: -float(gain[one]))
    useful = [one for i, one in enumerate(order) if i == 0 or float(gain[one]) > 0]
    changed = []
    for one in order[len(useful) :]:
        merge(expression, activity, one)
        changed.append(one)
    for one in useful:
        free = torch.nonzero(~active).flatten().tolist()
        if not free:
            break
        split(expression, activity, one, free[0])
        changed.append(free[0])
    return changed


def split(expression: Expression, activity: Activity, one: int, into: int, apart: float = APART) -> None:
    """A second metagene like `one`, each with half of its share; `apart` tells them apart."""
    effects, head = expression.metagenes, activity.metagene
    with torch.no_grad():
        for values in (effects.mean, effects.spread, head.weight, head.bias):
            values[into] = values[one]
        head.bias[[one, into]] -= math.log(2)
        effects.mean[into] += apart / EFFECT_SPEED * torch.randn_like(effects.mean[into])
        head.weight[into] += apart * head.weight.std() * torch.randn_like(head.weight[into])
        expression.active[into] = True


def merge(expression: Expression, activity: Activity, one: int) -> None:
    """Give the share of `one` to the active metagene whose effects are nearest: all of it, where both are alike."""
    effects, head = expression.metagenes, activity.metagene
    with torch.no_grad():
        expression.active[one] = False
        others = torch.nonzero(expression.active).flatten()
        near = others[(effects.mean[others] - effects.mean[one]).square().sum(dim=1).argmin()]
        head.bias[near] = torch.logaddexp(head.bias[near], head.bias[one])


def forget(network: XFuseNetwork, optimiser: torch.optim.Optimizer, rows: list[int]) -> None:
    """What the optimiser knows of metagenes that were others before."""
    effects, head = network.expression.metagenes, network.activity.metagene
    for values in (effects.mean, effects.spread, head.weight, head.bias):
        for kept in optimiser.state.get(values, {}).values():
            if kept.shape == values.shape:
                kept[rows] = 0

"""What few patients allow to be said about methods: sign-flip tests, a patient bootstrap, ranks and ties.

The patient is the unit: spots and sections of one patient are not independent, and seeds are no new patients. Every
function takes values (methods, patients) with seeds averaged, and treats all methods with the same flips or the same
resample, so that what methods share (a patient who is hard for all) cancels in their differences.

Sign-flip test: under the null hypothesis a paired difference is symmetric about 0, so each of the 2^n sign patterns is
equally likely. The statistic is |sum d| / sqrt(n sum d^2); its denominator does not change under flips, which makes it
an increasing function of |t|, the same one for all methods: the maximum over methods (Westfall & Young 1993, max-T,
single step) is that of |t|. The observed pattern and its mirror always count, so no p is below 2 / 2^n.

Bootstrap: percentile intervals over resampled patients (Efron 1979). With eight patients they are too narrow,
about 88 % of the time right where 95 % is said; docs/scores.md gives the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVEL = 0.05
FEWEST_PATIENTS = 6  # the least n with 2 / 2^n below LEVEL
_EXACT_UP_TO = 14  # patients; beyond, 2^14 of the sign patterns are drawn
_RESAMPLES = 10_000
_BLOCK = 1 << 22  # statistics held at once: all pairs of some hundred rows under 2^13 patterns would fill gigabytes


@dataclass(frozen=True)
class Bootstrap:
    """95 % percentile intervals, each (methods, 2): of the mean, of the difference to the reference, of the rank."""

    mean: Values
    difference: Values | None
    rank: NDArray[np.int64]


def least_p(n: int) -> float:
    """The least two-sided p that n patients can give."""
    return 2.0 / 2.0 ** min(n, _EXACT_UP_TO)


def too_few(n: int) -> str:
    """The sentence that stands in place of intervals, ties and probabilities; "" from six patients up."""
    if n >= FEWEST_PATIENTS:
        return ""
    return f"n = {n}: nothing can be told apart (least p {f'{least_p(n):.2f}'.removeprefix('0')})"


def sign_flips(n: int) -> Values:
    """(patterns, n) of +1 and -1: all 2^n up to 14 patients, else 2^14 drawn in mirrored pairs."""
    if n <= _EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
    half = np.random.default_rng(0).integers(0, 2, (2 ** (_EXACT_UP_TO - 1), n)) * 2.0 - 1.0
    half[0] = 1.0
    return np.concatenate([half, -half])


def max_t(differences: Values) -> tuple[Values, Values]:
    """Two-sided sign-flip p of each row of differences (tests, patients): unadjusted, and max-T adjusted."""
    tests, n = differences.shape
    if tests == 0:
        return np.empty(0), np.empty(0)
    norm = np.sqrt(n * (differences**2).sum(axis=1))
    scaled = np.divide(differences, norm[:, None], out=np.zeros_like(differences), where=norm[:, None] > 0)
    # Under the mirrored pattern |sum| is the same, so the half with a positive first sign is enough.
    flips = sign_flips(n)
    flips = flips[flips[:, 0] > 0]
    observed = np.abs(scaled.sum(axis=1)) - 1e-12
    largest, own = np.empty(len(flips)), np.zeros(tests)
    step = max(1, _BLOCK // tests)
    for start in range(0, len(flips), step):
        statistic = np.abs(scaled @ flips[start : start + step].T)  # tests x patterns
        largest[start : start + step] = statistic.max(axis=0)
        own += (statistic >= observed[:, None]).sum(axis=1)
    adjusted = 1.0 - np.searchsorted(np.sort(largest), observed, side="left") / len(largest)
    return own / len(flips), adjusted


def bootstrap(
    values: Values, reference: int | NDArray[np.intp] | None, larger_is_better: bool = True, seed: int = 0
) -> Bootstrap:
    """Intervals from 10,000 resamples of the patients, one and the same for all methods.

    Args:
        values: (methods, patients).
        reference: whose mean is taken from a method's, one for all or one each (methods,).
        larger_is_better: how means are ranked.
        seed: of the resamples.
    """
    methods, n = values.shape
    drawn = np.random.default_rng(seed).integers(0, n, (_RESAMPLES, n))
    weights = np.zeros((_RESAMPLES, n))
    np.add.at(weights, (np.arange(_RESAMPLES)[:, None], drawn), 1.0 / n)
    means = weights @ values.T  # resamples x methods
    signed = np.round(-means if larger_is_better else means, 12)  # what differs by rounding only shares a rank
    rank = _ranks(signed)
    difference = None if reference is None else _interval(means - means[:, np.broadcast_to(reference, methods)])
    ranks = np.percentile(rank, [2.5, 97.5], axis=0, method="inverted_cdf").T.astype(np.int64)
    return Bootstrap(_interval(means), difference, ranks)


def _ranks(values: Values) -> NDArray[np.int64]:
    """Ranks along each line, 1 the least; equal values share the lower one."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.zeros(values.shape, dtype=np.int64)  # where its run of equal values begins
    first[:, 1:] = np.where(ordered[:, 1:] > ordered[:, :-1], np.arange(1, values.shape[1]), 0)
    ranks = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(ranks, order, np.maximum.accumulate(first, axis=1) + 1, axis=1)
    return ranks


def tie_groups(values: Values, larger_is_better: bool = True) -> list[int]:
    """Group (1, 2, ...) of each method, 1 the best: a group's members are not told apart from the group's best one.

    All pairs are tested with max-T adjusted sign flips at .05. Ties are not transitive: two members of a
    group, or the last of one and the first of the next, may or may not differ; a group only says that its members are
    not told apart from its leader.
    """
    methods = len(values)
    first, second = np.triu_indices(methods, k=1)
    told_apart = np.zeros((methods, methods), dtype=bool)
    if len(first):
        adjusted = max_t(values[first] - values[second])[1]
        told_apart[first, second] = told_apart[second, first] = adjusted <= LEVEL
    mean = values.mean(axis=1)
    waiting = list(np.argsort(-mean if larger_is_better else mean, kind="stable"))
    group = [0] * methods
    number = 0
    while waiting:
        number += 1
        leader = waiting[0]
        members: list[int] = []
        for method in waiting:
            if told_apart[leader, method]:
                break
            members.append(method)
        for method in members:
            group[method] = number
        waiting = waiting[len(members) :]
    return group


def _interval(samples: Values) -> Values:
    return np.percentile(samples, [2.5, 97.5], axis=0).T

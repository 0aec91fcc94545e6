"""Scoring 13,620 spots x 1,000 genes in 36 sections: matrix operations against a loop of scipy's pearsonr."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..scoring.metrics import gene_scores, is_constant, pearson
from .measure import Row, alternate, less, memory_limit, rate

SPOTS, GENES, SECTIONS = 13_620, 1_000, 36
BLOCK = 256  # genes at a time: a section's block stays in the CPU's cache
LOOPED = 20  # genes that the loop is timed on; each costs the same, so the loop's time is scaled up


def rows() -> list[Row]:
    """Pairs of section and gene per second, for Pearson's r alone and for every figure of a record."""
    rng = np.random.default_rng(0)
    truth = np.log1p(rng.poisson(2.0, (SPOTS, GENES))).astype(np.float32)
    prediction = np.abs(truth + rng.normal(0, 0.7, truth.shape)).astype(np.float32)
    depth = np.expm1(truth).sum(axis=1).round().astype(np.int64)
    edges = np.linspace(0, SPOTS, SECTIONS + 1).astype(np.intp)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    some = slice(0, LOOPED)

    def correlations() -> NDArray[np.float64]:
        return np.stack([_correlate(truth[part], prediction[part]) for part in parts])

    def correlations_looped() -> NDArray[np.float64]:
        return np.stack([_loop(truth[part, some], prediction[part, some]) for part in parts])

    def figures() -> list[NDArray[np.float64]]:
        return [_stacked(gene_scores(truth[part], prediction[part], "counts", depth[part])) for part in parts]

    def figures_looped() -> list[NDArray[np.float64]]:
        return [_loop_figures(truth[part, some], prediction[part, some], depth[part]) for part in parts]

    _agree(correlations()[:, some], correlations_looped())
    _agree(figures()[0][:, some], figures_looped()[0])
    scale = GENES / LOOPED
    pairs = SECTIONS * GENES
    fast, full = alternate(correlations, correlations_looped), alternate(figures, figures_looped)
    # Each side is read once from memory: the least that any way of scoring must do.
    limit = pairs / ((truth.nbytes + prediction.nbytes) / memory_limit())
    scaled = f"loop timed on {LOOPED} of {GENES} genes"
    return [
        rate(
            f"score: pearson r, against scipy's pearsonr ({scaled})",
            "pairs/s",
            pairs,
            fast.ours,
            fast.plain * scale,
            limit,
        ),
        rate(
            f"score: all figures, against a loop of them ({scaled})",
            "pairs/s",
            pairs,
            full.ours,
            full.plain * scale,
            limit,
        ),
        less("score: all figures, peak memory", "MB", full.ours_mb, None),
    ]


def _correlate(truth: NDArray[np.float32], prediction: NDArray[np.float32]) -> NDArray[np.float64]:
    found = []
    for start in range(0, truth.shape[1], BLOCK):
        a, b = (side[:, start : start + BLOCK].astype(np.float64) for side in (truth, prediction))
        found.append(pearson(a, b, is_constant(a) | is_constant(b)))
    return np.concatenate(found)


def _loop(truth: NDArray[np.float32], prediction: NDArray[np.float32]) -> NDArray[np.float64]:
    from scipy.stats import pearsonr

    return np.array([pearsonr(truth[:, g], prediction[:, g])[0] for g in range(truth.shape[1])])


_FIGURES = ("pcc", "pcc_unrounded", "pcc_depth_adjusted", "mse", "mse_unrounded", "entropy_truth", "entropy_prediction")


def _stacked(scores: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack([scores[name] for name in _FIGURES])


def _loop_figures(
    truth: NDArray[np.float32], prediction: NDArray[np.float32], library_size: NDArray[np.int64]
) -> NDArray[np.float64]:
    from scipy.stats import entropy, linregress, pearsonr

    depth = np.log1p(library_size.astype(np.float64))
    found = []
    for g in range(truth.shape[1]):
        y, raw = truth[:, g].astype(np.float64), prediction[:, g].astype(np.float64)
        counts = np.rint(np.expm1(raw))
        x = np.log1p(counts)
        left = []
        for side in (y, x):
            line = linregress(depth, side)
            left.append(side - line.intercept - line.slope * depth)
        found.append(
            [
                pearsonr(y, x)[0],
                pearsonr(y, raw)[0],
                pearsonr(*left)[0],
                np.mean((y - x) ** 2),
                np.mean((y - raw) ** 2),
                entropy(np.unique(np.rint(np.expm1(y)), return_counts=True)[1], base=2),
                entropy(np.unique(counts, return_counts=True)[1], base=2),
            ]
        )
    return np.array(found).T


def _agree(ours: NDArray[np.float64], plain: NDArray[np.float64]) -> None:
    if not np.allclose(ours, plain, atol=1e-5):
        raise AssertionError("the two sides of the benchmark do not agree")

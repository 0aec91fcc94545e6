"""Sections with a known pattern: a square array whose genes vary in space as they are told to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qbench.benchmark.downstream.section import SectionTruth

EDGE = 14


def square(edge: int = EDGE) -> NDArray[np.float64]:
    """Positions on a square array (edge^2, 2), in pitches."""
    x, y = np.meshgrid(np.arange(edge), np.arange(edge))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(float)


def rates(xy: NDArray[np.float64], genes: int = 120, seed: int = 0, level: float = 30.0) -> NDArray[np.float64]:
    """Smooth rates (n, genes): four tissues in quarters, each gene with a strength of its own, the first ones strongest."""
    rng = np.random.default_rng(seed)
    middle = xy.max() / 2
    quarter = (xy[:, 0] > middle).astype(int) + 2 * (xy[:, 1] > middle).astype(int)
    strength = np.linspace(1.5, 0.0, genes)
    return level * np.exp(rng.normal(0, 1, (4, genes))[quarter] * strength)


def planted_truth(
    genes: int = 120,
    *,
    labels: NDArray[np.str_] | None = None,
    columns: dict[str, NDArray[np.intp]] | None = None,
    edge: int = EDGE,
    seed: int = 0,
) -> SectionTruth:
    """A section whose counts are drawn from `rates`; the first 50 genes are HVG and HEG, the first five MG."""
    xy = square(edge)
    counts = np.random.default_rng(seed + 1).poisson(rates(xy, genes, seed))
    at = np.arange(genes)
    return SectionTruth(
        values=np.log1p(counts.astype(float)),
        counts=counts.astype(np.int64),
        library_size=counts.sum(axis=1).astype(np.int64),
        target="counts",
        array_xy=xy,
        lists={"mg": at < 5, "hvg": at < 50, "heg": at < 50, "all": at >= 0},
        columns=columns or {},
        labels=labels,
    )

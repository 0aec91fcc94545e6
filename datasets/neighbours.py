"""The spots nearest to each spot of a section: the graph of methods that read a spot's surroundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIE = 1e-6  # pitches; distances that differ by less are the same, so that the order of the spots decides nothing


@dataclass(frozen=True)
class Neighbours:
    """Up to k nearest spots of each spot, nearest first.

    Attributes:
        index: int64 (n, k), rows of the spots; a spot with fewer than k neighbours has its own row in their place.
        present: bool (n, k), false in those places. A spot without any neighbour is its own: its first place is true.
    """

    index: NDArray[np.int64]
    present: NDArray[np.bool_]

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of the neighbours' rows of `values` (n, ...): float64, same shape."""
        weights = self.present / self.present.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("nk,nk...->n...", weights, np.asarray(values)[self.index], dtype=np.float64))

    def edges(self) -> NDArray[np.int64]:
        """The same as pairs of rows (2, edges): a spot, and one of its neighbours."""
        spots = np.nonzero(self.present)[0]
        return np.stack([spots, self.index[self.present]]).astype(np.int64)


def nearest(xy: NDArray[np.float64], k: int, within: float | None = None) -> Neighbours:
    """The k nearest other spots of each by Euclidean distance, those equally far in the order of x, then y.

    Args:
        xy: (n, 2).
        k: at least 1; in a section of k spots or fewer each has all the others.
        within: the largest distance of a neighbour, in the units of `xy`; None for any.

    Raises:
        ValueError: k below 1, or places that are not finite.
    """
    from scipy.spatial import cKDTree

    places = np.asarray(xy, dtype=np.float64)
    if k < 1 or not np.isfinite(places).all():
        raise ValueError(f"Expected k of at least 1 and finite places, found k={k}; correct them.")
    n = len(places)
    kept = min(k, n - 1)
    index = np.repeat(np.arange(n, dtype=np.int64)[:, None], max(kept, 1), axis=1)
    present = np.zeros(index.shape, dtype=bool)
    if kept > 0:
        tree = cKDTree(places)
        reach = tree.query(places, k=kept + 1)[0][:, kept]
        # All spots as near as the k-th, so that a tie is broken by place and never by the tree's order.
        found = tree.query_ball_point(places, reach + 2 * TIE)
        spots = np.repeat(np.arange(n), np.fromiter(map(len, found), np.intp, n))
        others = np.concatenate(found).astype(np.int64)
        spots, others = spots[spots != others], others[spots != others]
        steps = np.rint(np.hypot(*(places[others] - places[spots]).T) / TIE)
        order = np.lexsort((places[others, 1], places[others, 0], steps, spots))
        spots, others, steps = spots[order], others[order], steps[order]
        rank = np.arange(len(spots)) - np.searchsorted(spots, spots)
        chosen = rank < kept
        if within is not None:
            chosen &= steps <= np.rint(within / TIE)
        index[spots[chosen], rank[chosen]] = others[chosen]
        present[spots[chosen], rank[chosen]] = True
    present[~present.any(axis=1), 0] = True
    return Neighbours(index, present)


def below(parts: list[Neighbours]) -> Neighbours:
    """Those of several sections as one, rows counted through; no spot is the neighbour of one of another section."""
    width = max((part.index.shape[1] for part in parts), default=1)
    index, present, start = [], [], 0
    for part in parts:
        n = len(part.index)
        own = np.repeat(np.arange(n, dtype=np.int64)[:, None], width - part.index.shape[1], axis=1)
        index.append(np.concatenate([part.index, own], axis=1) + start)
        present.append(np.concatenate([part.present, np.zeros(own.shape, dtype=bool)], axis=1))
        start += n
    if not parts:
        return Neighbours(np.zeros((0, width), np.int64), np.zeros((0, width), bool))
    return Neighbours(np.concatenate(index), np.concatenate(present))

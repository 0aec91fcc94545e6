"""Feature scaling that is fitted on training spots only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.cohort import RowView

# Raised by hand whenever z-scores move; part of the identity of what uses them.
SCALING_VERSION = 2
CHUNK = 16_384  # rows at a time: 170 MB of float64 at 1,280 features


def chunks(rows: RowView | NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The rows in order, at most `CHUNK` at a time, each with its place."""
    for start in range(0, len(rows), CHUNK):
        place = slice(start, min(start + CHUNK, len(rows)))
        yield place, np.asarray(rows[place])


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature over the training spots, float64 (d,); constant features get sd 1."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def fit(cls, features: RowView | NDArray[Any]) -> Scaling:
        """Two passes in float64, a chunk at a time."""
        n = len(features)
        mean = sum(part.sum(axis=0, dtype=np.float64) for _, part in chunks(features)) / n
        square = sum(((part - mean) ** 2).sum(axis=0, dtype=np.float64) for _, part in chunks(features)) / n
        sd = np.sqrt(square)
        return cls(np.asarray(mean), np.where(sd > 1e-6 * (1 + np.abs(mean)), sd, 1.0))

    def apply(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """z-scores, float64, same shape."""
        return (features - self.mean) / self.sd

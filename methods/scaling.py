"""Feature scaling that is fitted on training spots only.

A z-score divides by a feature's spread, so a feature that hardly varies in training turns rounding into signal: with a
training sd of 7.5e-6 among features of sd 0.1, noise of bf16 became z-scores of 20,000. Two rules hold that off.

* A feature that is constant in training, or whose sd is at most `rounding` times the median sd of the features that vary, says
  nothing: it is 0 everywhere. Features of an encoder come as float32 whatever made them, so their floor is the rounding of
  bf16, the coarsest arithmetic that an encoder runs in, under every runtime: which features count does not hang on the
  machine. What is made here in float64 (coordinates, z-scores) has float64's.
* z is clipped at `CLIP` sds of training: features after a ReLU are 0 for nearly all spots, so that one spot lies far out.
"""

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
CLIP = 10.0
BF16_ROUNDING = 2.0**-8  # relative distance of neighbours with 8 significant bits, at most
CONSTANT = 1e-6  # of the mean; what summing a constant column of float32 may leave


def chunks(rows: RowView | NDArray[Any], size: int = CHUNK) -> Iterator[tuple[slice, NDArray[Any]]]:
    """The rows in order, at most `size` at a time, each with its place."""
    for start in range(0, len(rows), size):
        place = slice(start, min(start + size, len(rows)))
        yield place, np.asarray(rows[place])


@dataclass(frozen=True)
class Scaling:
    """Mean and sd of each feature over the training spots, float64 (d,); sd is 0 for features that say nothing."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    @classmethod
    def fit(cls, features: RowView | NDArray[Any]) -> Scaling:
        """From the training spots' features (n, d), by two passes in float64, a chunk at a time."""
        n = len(features)
        mean = np.asarray(sum(part.sum(axis=0, dtype=np.float64) for _, part in chunks(features)) / n)
        square = np.asarray(sum(((part - mean) ** 2).sum(axis=0, dtype=np.float64) for _, part in chunks(features)) / n)
        return cls(mean, _usable(mean, np.sqrt(square), features.dtype))

    def apply(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """z-scores within +-`CLIP`, float64, same shape; 0 for features that say nothing."""
        z = (features - self.mean) / np.where(self.sd > 0, self.sd, np.inf)
        return np.clip(z, -CLIP, CLIP, out=z)


def _usable(mean: NDArray[np.float64], sd: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The sd (d,), with 0 where it is that of a constant or of rounding."""
    varies = sd > CONSTANT * np.abs(mean)
    if not varies.any():
        return np.zeros_like(sd)
    rounding = float(np.finfo(np.float64).eps) if dtype == np.float64 else BF16_ROUNDING
    return np.where(varies & (sd > rounding * np.median(sd[varies])), sd, 0.0)

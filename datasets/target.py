"""What is predicted: log1p of integer counts, or log1p of library-size-normalised counts; and the rounding of predictions."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import MethodError

TargetName = Literal["counts", "proportion"]
TARGET_VERSION = 1  # raised whenever the same counts would give other targets, or predictions are rounded otherwise
SCALE = 1e4  # counts per ten thousand, over all genes of the section
LARGEST_COUNT = 2**31  # integer export clips here, and counts how often


class Counted(Protocol):
    """Spots whose counts are known: a section, or what a stored cell holds of one."""

    @property
    def library_size(self) -> NDArray[np.int64]:
        """Total UMI of each spot over *all* genes, int64 (n,)."""

    def columns(self, genes: tuple[str, ...]) -> NDArray[np.int32]:
        """Counts of the named genes, int32 (n, len(genes))."""


def target_values(section: Counted, genes: tuple[str, ...], target: TargetName) -> NDArray[np.float32]:
    """Target of each spot, float32 (n, genes).

    `counts`: log1p(c). `proportion`: log1p(1e4 c / total), the total over *all* genes of the section, 0 for a spot
    without any count. A gene that the section lacks reads as count 0.
    """
    counts = section.columns(genes).astype(np.float64)
    if target == "proportion":
        total = section.library_size.astype(np.float64)[:, None]
        counts = np.divide(SCALE * counts, total, out=np.zeros_like(counts), where=total > 0)
    return np.log1p(counts).astype(np.float32)


def counts_of(
    target: NDArray[np.float32], name: TargetName, library_size: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """The integer counts (n, genes) of which `target_values` made a target; `proportion` needs the spots' totals (n,)."""
    values = np.expm1(target.astype(np.float64))
    if name == "proportion":
        assert library_size is not None
        values *= library_size[:, None] / SCALE
    return np.rint(values).astype(np.int64)


def finite(prediction: NDArray[np.floating], where: str) -> NDArray[np.float32]:
    """A prediction as float32.

    Raises:
        MethodError: a value that is not finite; the cell fails.
    """
    values = np.asarray(prediction, dtype=np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        raise MethodError(
            f"{where}: expected finite predictions, found {int(bad.sum())} that are not; look for divisions by zero, "
            "logarithms of 0, or a learning rate that is too large."
        )
    return values


def clamp(prediction: NDArray[np.floating], where: str) -> NDArray[np.float32]:
    """A prediction in target space as it is scored and stored: float32, not below 0; errors as in `finite`."""
    return np.maximum(finite(prediction, where), 0, dtype=np.float32)


def round_in_count_space(prediction: NDArray[np.floating]) -> NDArray[np.float64]:
    """log1p(round(expm1(x))) in float64 for x >= 0, log1p counts; ties to even.

    Above `LARGEST_COUNT` the rounding is below float64's resolution of x and x itself is returned, so nothing overflows.
    """
    x = np.asarray(prediction, dtype=np.float64)
    limit = np.log1p(LARGEST_COUNT)
    return np.where(x <= limit, np.log1p(np.rint(np.expm1(np.minimum(x, limit)))), x)


def integer_counts(prediction: NDArray[np.floating]) -> tuple[NDArray[np.int64], int]:
    """Predicted log1p counts as int64 counts, and how many were clipped at 2**31."""
    x = np.asarray(prediction, dtype=np.float64)
    limit = np.log1p(LARGEST_COUNT)
    return np.rint(np.expm1(np.clip(x, 0, limit))).astype(np.int64), int((x > limit).sum())

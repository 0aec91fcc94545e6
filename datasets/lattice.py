"""The geometry of an array, hexagonal or square, from the columns and rows of its spots and their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEX_ROW = 3**0.5 / 2  # distance of two rows of a hexagonal array, in pitches
_SKEW = 0.05  # an array's two axes may differ by this share in their scale


@dataclass(frozen=True)
class Lattice:
    """Positions on an array.

    Attributes:
        xy: float64 (n, 2), in pitches.
        hexagonal: or square.
        pixels: of one pitch, None where the spots do not tell.
        skewed: the array's axes differ in scale, so that its geometry is not the one assumed.
        edge: the larger of the two numbers of rows and columns that the positions span.
    """

    xy: NDArray[np.float64]
    hexagonal: bool
    pixels: float | None
    skewed: bool
    edge: float


def lattice(
    column: NDArray[np.float64],
    row: NDArray[np.float64],
    pixel_xy: NDArray[np.float64] | None,
    square: bool | None = None,
) -> Lattice:
    """Positions in pitches from the columns and rows of an array, and the pixels of one pitch by least squares.

    A hexagonal array of 10x counts columns by halves: neighbours in a row differ by two, and the sum of column and row is
    even. A square one may look so where few spots are left; then the geometry that fits the pixels is taken. Positions
    that are not finite are left out of the fit. The fit is affine, so the array may lie turned or mirrored.

    Args:
        column: float64 (n,), of each spot on the array.
        row: float64 (n,).
        pixel_xy: (n, 2) or None.
        square: what is known of the geometry, if anything.
    """
    flat = np.column_stack([column, row]).astype(np.float64)
    halves = flat * (0.5, HEX_ROW)
    finite = np.isfinite(flat).all(axis=1)
    used = flat[finite]
    edge = float(np.ptp(used, axis=0).max() + 1) if len(used) else 0.0
    maybe = len(used) > 1 and bool((used.sum(axis=1) % 2 == 0).all())
    choices = [False] if square or not maybe else [True] if square is False else [True, False]
    fits = {hexagonal: _fit(halves if hexagonal else flat, pixel_xy, hexagonal) for hexagonal in choices}
    hexagonal = min(choices, key=lambda choice: fits[choice][1] > 1 + _SKEW)  # the first that fits, else the first
    pixels, ratio = fits[hexagonal]
    return Lattice(halves if hexagonal else flat, hexagonal, pixels, ratio > 1 + _SKEW, edge)


def _fit(
    array: NDArray[np.float64], pixel_xy: NDArray[np.float64] | None, along_rows: bool
) -> tuple[float | None, float]:
    """Pixels of one unit of `array`, and the ratio of the scales of its two axes (1 where only one is measured).

    The unit is that along rows, or the mean of both axes.
    """
    if pixel_xy is None:
        return None, 1.0
    finite = np.isfinite(array).all(axis=1) & np.isfinite(pixel_xy).all(axis=1)
    units, pixels = array[finite], pixel_xy[finite]
    if not len(units):
        return None, 1.0
    units, pixels = units - units.mean(axis=0), pixels - pixels.mean(axis=0)
    rank = int(np.linalg.matrix_rank(units))
    if rank == 0:
        return None, 1.0
    affine = np.linalg.lstsq(units, pixels, rcond=None)[0]  # pixels = units @ affine
    if rank == 1:
        along = np.linalg.svd(units, full_matrices=False)[2][0]
        length = float(np.linalg.norm(along @ affine))
        return (length or None), 1.0
    large, small = np.linalg.svd(affine, compute_uv=False)
    if not small > 0:
        return None, 1.0
    # The pitch of a Visium array is stated along a row; its rows lie .4 % farther apart than a hexagon's would.
    pixels_of_one = np.linalg.norm(affine[0]) if along_rows or large / small > 1 + _SKEW else np.sqrt(large * small)
    return float(pixels_of_one), float(large / small)

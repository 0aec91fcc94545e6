"""The cells of a spot's patch that its disk covers, for methods that learn cells from the spots that hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import MethodError

FINE = 32  # points along a cell's edge that its share of the disk is counted on


def disk_cells(edge: int, disk: float, whole: bool, method: str) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The cells of an edge x edge grid that a disk in its middle covers, and the weight of each; weights sum to 1.

    Args:
        edge: cells along the patch's edge, numbered left to right, then down.
        disk: diameter, as a share of the patch's edge.
        whole: cells whose centre lies within the disk count alike, as published; else each by its area in the disk.
        method: whose setting `disk` is.

    Raises:
        MethodError: the disk covers no cell.
    """
    points = 1 if whole else FINE
    place = (np.arange(edge * points) + 0.5) / (edge * points) - 0.5
    inside = np.hypot(place[:, None], place[None]) <= disk / 2 + 1e-9
    share = inside.reshape(edge, points, edge, points).mean(axis=(1, 3)).ravel()
    index = np.flatnonzero(share)
    if not len(index):
        raise MethodError(
            f"{method}: expected a disk that holds the centre of a cell, found disk={disk:g} of a patch "
            f"of {edge} x {edge} cells; set a larger one."
        )
    return index, (share[index] / share[index].sum()).astype(np.float32)


def middle_cells(edge: int) -> NDArray[np.intp]:
    """The cell in the middle of an edge x edge grid, or the four around it."""
    middle = np.arange((edge - 1) // 2, edge // 2 + 1)
    return (middle[:, None] * edge + middle).ravel()

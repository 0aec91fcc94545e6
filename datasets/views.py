"""Several views of a spot: a grid of windows around its patch, or of parts of it, and where in the image they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VIEW_VERSION = 1  # raised when the same section would give other views


@dataclass(frozen=True)
class Views:
    """A square grid of views of each spot, in the order of reading: left to right, then down.

    Attributes:
        grid: views along an edge; odd where they lie around the spot.
        inside: the patch itself cut into grid x grid parts; else its window and those of the same size around it.
        centre: one view alone, of a part's size, in the middle of the patch; what a map finer than spots is made of.
    """

    grid: int
    inside: bool = False
    centre: bool = False

    def __post_init__(self) -> None:
        if self.centre and not self.inside:
            raise ValueError("A view in the middle of a patch is a part of it; say inside=True, too.")
        if self.grid < 2 or (not self.inside and self.grid % 2 == 0):
            raise ValueError(f"Expected a grid of 2 or more views an edge, odd around a spot, found {self.grid}.")

    @property
    def count(self) -> int:
        """Views of a spot."""
        return 1 if self.centre else self.grid**2

    @property
    def key(self) -> str:
        """Name of their features in a store, beside those of encoders."""
        return f"@{self.grid}x{self.grid}{'-inside' if self.inside else ''}{'-centre' if self.centre else ''}"

    def identity(self) -> dict[str, Any]:
        """What decides, beside the patches, which windows are seen."""
        own = {"centre": True} if self.centre else {}
        return {"views": VIEW_VERSION, "grid": self.grid, "inside": self.inside, **own}

    @property
    def own(self) -> int | None:
        """The view that is the spot's own patch; None where the views are parts of it."""
        return None if self.inside else self.count // 2


@dataclass(frozen=True)
class ViewWindows:
    """Windows of an image, of which no two are the same.

    Attributes:
        corners: int64 (m, 2), upper left pixels.
        edge: of each, in pixels of the image.
        index: int64 (n, views), the window of each spot's view; -1 where it is the spot's own patch, which is known.
        present: bool (n, views), false where a view around the spot leaves the image; its index says nothing.
    """

    corners: NDArray[np.int64]
    edge: int
    index: NDArray[np.int64]
    present: NDArray[np.bool_]


def view_windows(views: Views, centres: NDArray[np.float64], window: int, size: tuple[int, int]) -> ViewWindows:
    """The windows that show the views of spots whose patches are `window` pixels of an image of `size` (width, height).

    A view around the spot is missing where its window is not wholly inside the image; the spot's own, and the parts of it,
    repeat the image's edge there, as patches do.
    """
    corner = np.rint(centres).astype(np.int64) - window // 2
    step = np.stack(np.meshgrid(*[np.arange(views.grid)] * 2), axis=-1).reshape(-1, 2)
    if views.inside:
        edge = max(1, window // views.grid)
        if views.centre:
            places = corner[:, None] + (window - edge) // 2
        else:
            places = corner[:, None] + (window - views.grid * edge) // 2 + step * edge
        present = np.ones(places.shape[:2], dtype=bool)
    else:
        edge = window
        places = corner[:, None] + (step - views.grid // 2) * edge
        present = np.all((places >= 0) & (places + edge <= np.array(size)), axis=2)
    index = np.full(present.shape, -1, dtype=np.int64)
    new = present.copy()
    if views.own is not None:
        present[:, views.own], new[:, views.own] = True, False
    corners, index[new] = np.unique(places[new][:, ::-1], axis=0, return_inverse=True)
    return ViewWindows(np.ascontiguousarray(corners[:, ::-1]).reshape(-1, 2), edge, index, present)

"""Where to predict: a grid over the tissue, or a user's own spots; and windows of them that are predicted at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.readers.placement import pitch
from ...datasets.readers.tables import read_spots
from ...datasets.tissue import Overview
from ...errors import ConfigurationError, DataError

WINDOW = (
    40  # grid steps along the edge of a window: the size of a HER2ST array, which whole-section methods learned from
)
MOST_POINTS = 10_000_000  # a slide of 100,000 pixels, a point at every 32
TISSUE = 0.5  # least share of tissue in a grid point's patch


@dataclass(frozen=True)
class Points:
    """Places to predict, in the order of the output.

    Attributes:
        names: (n,).
        pixel_xy: float64 (n, 2), centres in slide pixels.
        step: distance of neighbours, slide pixels.
        windows: int (n,), number of the window that each belongs to, from 0 without gaps.
    """

    names: tuple[str, ...]
    pixel_xy: NDArray[np.float64]
    step: float
    windows: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, window: int) -> NDArray[np.intp]:
        """The points of a window by row and column of the slide, so that neighbouring tiles are decoded once."""
        own = np.flatnonzero(self.windows == window)
        return own[np.lexsort((self.pixel_xy[own, 0], self.pixel_xy[own, 1]))]

    def array_xy(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Positions of some points in steps, from 0 at their upper left corner; float64 (len(rows), 2)."""
        own = self.pixel_xy[rows]
        return np.asarray((own - own.min(axis=0)) / self.step)


def parse_length(text: str, microns_per_pixel: float | None, flag: str = "--grid") -> float:
    """A length such as "200um" or "290px" in slide pixels.

    Raises:
        ConfigurationError: another form, or microns where the scale is not known.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(um|µm|μm|px)\s*", text)
    if not match or not float(match[1]) > 0:
        raise ConfigurationError(f"Expected {flag} as a length such as 200um or 290px, found '{text}'.")
    length = float(match[1])
    if match[2] == "px":
        return length
    if microns_per_pixel is None:
        raise ConfigurationError(
            f"{flag} {text} needs the slide's microns per pixel, which its file does not state; give "
            "--microns-per-pixel."
        )
    return length / microns_per_pixel


def grid_points(size: tuple[int, int], step: float, window: float, tissue: Overview) -> Points:
    """Centres of a square grid, `step` slide pixels apart, whose patch of `window` pixels holds tissue enough.

    Raises:
        DataError: no tissue was found; ConfigurationError: a grid without any point inside the slide.
    """
    expected = size[0] * size[1] / step**2
    if expected > MOST_POINTS:
        raise ConfigurationError(
            f"A grid of {step:.3g} pixels has {expected:.2g} points in a slide of {size[0]} x {size[1]} pixels, more than "
            f"{MOST_POINTS:,}; make it coarser."
        )
    axes = [np.arange(step / 2, length, step) for length in size]
    if not all(len(axis) for axis in axes):
        raise ConfigurationError(
            f"A grid of {step:.0f} pixels has no point in a slide of {size[0]} x {size[1]} pixels; make it finer."
        )
    column, row = (index.ravel() for index in np.meshgrid(np.arange(len(axes[0])), np.arange(len(axes[1]))))
    centres = np.column_stack([axes[0][column], axes[1][row]])
    kept = np.flatnonzero(tissue.share(centres, window) >= TISSUE)
    if not len(kept):
        raise DataError(
            "Expected stained tissue in the slide, found none; give the places with --spots CSV if there is some."
        )
    names = [f"{column[i]}x{row[i]}" for i in kept]
    found = _in_windows(names, centres[kept], step)
    order = np.concatenate([found.rows(number) for number in range(int(found.windows.max()) + 1)])
    return Points(tuple(names[i] for i in order), found.pixel_xy[order], step, found.windows[order])


def listed_points(path: Path, size: tuple[int, int]) -> Points:
    """The spots of a CSV with columns spot, x, y in slide pixels, in its order and by its names.

    Raises:
        DataError: a table that is not so, or spots outside the slide.
    """
    spots = read_spots(path)
    xy = np.array(list(spots.values()))[:, :2]
    outside = ~((xy >= 0) & (xy <= np.array(size))).all(axis=1)
    if outside.any():
        first = int(outside.argmax())
        raise DataError(
            f"{int(outside.sum())} of {len(xy)} spots of {path} lie outside the slide of {size[0]} x {size[1]} pixels "
            f"(the first is {list(spots)[first]} at {xy[first, 0]:.0f}, {xy[first, 1]:.0f}); give them in pixels of this image."
        )
    return _in_windows(list(spots), xy, pitch(xy) if len(xy) > 1 else 1.0)


def _in_windows(names: list[str], centres: NDArray[np.float64], step: float) -> Points:
    place = np.floor((centres - centres.min(axis=0)) / (WINDOW * step)).astype(np.intp)
    _, windows = np.unique(place[:, 1] * (place[:, 0].max() + 1) + place[:, 0], return_inverse=True)
    return Points(tuple(names), centres, step, windows.astype(np.intp))

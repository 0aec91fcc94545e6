"""Which orientation or scale of the spots' coordinates lies on the tissue of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tissue import Overview

ON = 0.25  # share of stained pixels around a spot on tissue; fat and lung hold much glass
CELLS = 150  # of the longer edge, at most: what the spots cover is compared with the tissue in such cells
SURE = 0.8  # share of the spots that an alignment puts on tissue, at least, to be worth a word
STEP = 1.02  # of neighbouring factors


@dataclass(frozen=True)
class Fit:
    """How spots lie on an image: share of them on tissue, and overlap (IoU, 0 to 1) of what they cover with the tissue."""

    on_tissue: float
    overlap: float


@dataclass(frozen=True)
class Alignment:
    """A change of the coordinates: what it is in words, how to make it, and how the spots lie then."""

    name: str
    advice: str
    fit: Fit


def measure(pixel_xy: NDArray[np.float64], size: NDArray[np.float64], small: Overview, pitch: float) -> Fit:
    """How spots lie on an image.

    Args:
        pixel_xy: float64 (n, 2).
        size: (2,) width and height of the image; both in its pixels, as is `pitch`.
        small: the image made small, with its tissue.
        pitch: distance of neighbouring spots, pixels.
    """
    inside = ((pixel_xy >= 0) & (pixel_xy <= size)).all(axis=1)
    if not inside.any():
        return Fit(0.0, 0.0)
    on = small.share(pixel_xy[inside], pitch / 2) >= ON
    cell = max(pitch, size.max() / CELLS)
    columns, rows = (max(1, int(n)) for n in np.ceil(size / cell))
    y, x = np.divmod(np.arange(rows * columns), columns)
    tissue = small.share((np.column_stack([x, y]) + 0.5) * cell, cell) >= 0.5
    place = np.minimum((pixel_xy[inside] // cell).astype(int), [columns - 1, rows - 1])
    covered = np.zeros(rows * columns, dtype=bool)
    covered[place[:, 1] * columns + place[:, 0]] = True
    either = int((tissue | covered).sum())
    return Fit(float(on.sum() / len(pixel_xy)), float((tissue & covered).sum() / either))


def better_orientation(
    pixel_xy: NDArray[np.float64], size: NDArray[np.float64], small: Overview, pitch: float
) -> Alignment | None:
    """The turn or mirror image of the coordinates that lies best on the tissue, or None if none lies on it."""
    (x, y), (width, height) = pixel_xy.T, size
    turned = {
        "with x and y swapped": ("x, y = y, x", y, x),
        "with y counted from the upper edge": (f"y = {height:.0f} - y", x, height - y),
        "with x counted from the left edge": (f"x = {width:.0f} - x", width - x, y),
        "turned by 180 degrees": (f"x, y = {width:.0f} - x, {height:.0f} - y", width - x, height - y),
        "turned by 90 degrees": (f"x, y = {width:.0f} - y, x", width - y, x),
        "turned by 270 degrees": (f"x, y = y, {height:.0f} - x", y, height - x),
        "swapped and turned by 180 degrees": (
            f"x, y = {width:.0f} - y, {height:.0f} - x",
            width - y,
            height - x,
        ),
    }
    found = [
        Alignment(name, f"write them as {formula}", measure(np.column_stack([a, b]), size, small, pitch))
        for name, (formula, a, b) in turned.items()
    ]
    return _best(found)


def better_scale(
    pixel_xy: NDArray[np.float64], size: NDArray[np.float64], small: Overview, pitch: float
) -> Alignment | None:
    """The factor that makes the coordinates cover the tissue best, or None if none puts them on it."""
    reach = float((pixel_xy.max(axis=0) / size).max())
    if reach <= 0:
        return None
    factors = 1 / reach / STEP ** np.arange(0, 120)  # until the spots fill a tenth of an edge
    fits = [measure(pixel_xy * factor, size, small, pitch * factor) for factor in factors]
    likely = [i for i, fit in enumerate(fits) if fit.on_tissue >= SURE]
    if not likely:
        return None
    most = max(fits[i].overlap for i in likely)
    level = [i for i in likely if fits[i].overlap >= most - 0.01]  # cells are coarse: the middle of the equally good
    factor = float(np.exp(np.mean(np.log(factors[level]))))
    fit = measure(pixel_xy * factor, size, small, pitch * factor)
    return Alignment(
        f"with a factor of about {factor:.3g}",
        f"state the exact one in the card, for example 'pixel_scale: {factor:.3g}'",
        fit,
    )


def _best(found: list[Alignment]) -> Alignment | None:
    sure = [alignment for alignment in found if alignment.fit.on_tissue >= SURE]
    return max(sure, key=lambda alignment: alignment.fit.overlap, default=None)

"""Where the tissue is: a mask of the slide at low resolution, before any grid is laid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .images import Image

EDGE = 1500  # pixels of the overview's longer edge, at most
BLOCK = 2048  # pixels of the slide's edge that are read at once
GLASS = 95  # percentile of brightness that is taken for bare glass
PART = (
    0.5  # of Otsu's threshold, which parts dense from bare; pale stroma lies between (docs/predict.md has the figures)
)
DENSITY = (0.02, 0.15)  # limits of the threshold in optical density: noise of the glass below, stain above
SMALLEST = 0.0005  # share of the overview that a piece of tissue covers at least, and a hole
DARK = 40  # below this mean of the channels nothing is stain: black borders of scanners


@dataclass(frozen=True)
class Overview:
    """A slide made small.

    Attributes:
        pixels: RGB uint8 (height, width, 3).
        factor: slide pixels per overview pixel.
        tissue: bool (height, width).
    """

    pixels: NDArray[np.uint8]
    factor: float
    tissue: NDArray[np.bool_]

    def share(self, centres: NDArray[np.float64], window: float) -> NDArray[np.float64]:
        """Share of tissue in square windows around points, (n,); all in pixels of the slide."""
        height, width = self.tissue.shape
        sums = self._sums
        half = window / 2
        low = np.floor((centres - half) / self.factor).astype(int)
        high = np.maximum(np.ceil((centres + half) / self.factor).astype(int), low + 1)
        x0, y0 = np.clip(low[:, 0], 0, width), np.clip(low[:, 1], 0, height)
        x1, y1 = np.clip(high[:, 0], 0, width), np.clip(high[:, 1], 0, height)
        inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        shares: NDArray[np.float64] = inside / np.maximum((high - low).prod(axis=1), 1)
        return shares

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """Tissue above and left of each corner of a pixel, so that a window's sum is four look-ups."""
        height, width = self.tissue.shape
        sums = np.zeros((height + 1, width + 1))
        sums[1:, 1:] = self.tissue.cumsum(axis=0).cumsum(axis=1)
        return sums


def overview(image: Image, longest: int = EDGE) -> Overview:
    """Make a slide small, its longer edge `longest` pixels at most, and find its tissue.

    Read block by block, from a small level of a pyramid where there is one.
    """
    width, height = image.size
    level, base = 0, 1.0
    for i, (w, h) in enumerate(image.levels):
        if max(w, h) >= min(longest, max(width, height)):
            level, base = i, width / w
    width, height = image.levels[level]
    step = max(1, -(-max(width, height) // longest))
    rows, columns = -(-height // step), -(-width // step)
    small = np.empty((rows, columns, 3), dtype=np.uint8)
    edge = max(1, BLOCK // step)  # overview pixels of a block
    for row in range(0, rows, edge):
        for column in range(0, columns, edge):
            x, y = column * step, row * step
            w, h = min(edge * step, width - x), min(edge * step, height - y)
            part = _shrink(image.read(x, y, w, h, level), step)
            small[row : row + part.shape[0], column : column + part.shape[1]] = part
    return Overview(small, base * step, find_tissue(small))


def find_tissue(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Stained tissue of an overview, bool (height, width).

    Half of Otsu's threshold on the optical density of the smoothed green channel, where haematoxylin and eosin both
    absorb, against the slide's own glass; then small pieces and small holes go. Black borders and black pen are not
    tissue; pen of another colour is.
    """
    from scipy import ndimage

    smooth = ndimage.uniform_filter(pixels.astype(np.float32), size=(5, 5, 1))
    lit = smooth.mean(axis=2) > DARK
    if not lit.any():
        return np.zeros(lit.shape, dtype=bool)
    green = smooth[:, :, 1]
    glass = float(np.percentile(green[lit], GLASS))
    density = np.maximum(-np.log10((green + 1) / (glass + 1)), 0)
    threshold = float(np.clip(PART * otsu(density[lit] * 200) / 200, *DENSITY))
    mask: NDArray[np.bool_] = (density > threshold) & lit
    least = max(4, round(SMALLEST * mask.size))
    mask = _without_small(mask, least)
    return np.asarray(~_without_small(~mask, least))


def otsu(values: NDArray[np.float32]) -> float:
    """The threshold that best separates two groups of values in 0..256, larger ones taken for 256 (Otsu 1979)."""
    counts = np.histogram(np.minimum(values, 256), bins=256, range=(0, 256))[0].astype(np.float64)
    centres = np.arange(256) + 0.5
    below = counts.cumsum()
    above = below[-1] - below
    total = (counts * centres).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, 0.0)
    return float(between.argmax() + 1)


def _without_small(mask: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    from scipy import ndimage

    pieces, n = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=n + 1)
    keep = sizes >= least
    keep[0] = False
    return np.asarray(keep[pieces])


def _shrink(block: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Mean over squares of `step` pixels; those at the lower and right edge may be smaller."""
    if step == 1:
        return block
    sums = _sums_of(_sums_of(block, step).transpose(1, 0, 2), step).transpose(1, 0, 2)
    sizes = [np.minimum(step, n - np.arange(0, n, step)) for n in block.shape[:2]]
    area = np.outer(sizes[0], sizes[1])[:, :, None]
    return np.asarray((sums + area // 2) // area, dtype=np.uint8)


def _sums_of(rows: NDArray[np.unsignedinteger], step: int) -> NDArray[np.uint32]:
    """Sums of each `step` rows, uint32; the last may be of fewer. Row by row: `np.add.reduceat` takes ten times as long."""
    sums = np.zeros((-(-len(rows) // step), *rows.shape[1:]), dtype=np.uint32)
    for first in range(min(step, len(rows))):
        part = rows[first::step]
        sums[: len(part)] += part
    return sums

"""Square tiles of a section's image on one grid, for methods that look far around a spot: white beyond the border."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import patch_file
from .cache import ArrayCache
from .entry import EntryWriter
from .hashing import canonical_hash
from .images import Image, open_image
from .patches import patch_window, resized
from .section import Section
from .stain_treatment import Treatment

TILE_VERSION = 1  # raised when the same section would give other tiles
WHITE = 255


@dataclass(frozen=True)
class Surroundings:
    """What a method sees around a place: the tile that it lies in, and those around that one.

    Attributes:
        tile: pixels along a tile's edge, at the patches' scale.
        grid: tiles along the edge of what is seen, with the place's own in the middle; odd.
    """

    tile: int
    grid: int

    def __post_init__(self) -> None:
        if self.tile < 1 or self.grid < 1 or self.grid % 2 == 0:
            raise ValueError(f"Expected tiles of 1 px or more in an odd grid, found {self.tile} px and {self.grid}.")

    @property
    def key(self) -> str:
        """Name of the tiles in a store, beside encoders and views."""
        return f"#{self.tile}x{self.grid}"

    def identity(self) -> dict[str, Any]:
        """What decides, beside the patches, which pixels are seen."""
        return {"tiles": TILE_VERSION, "tile": self.tile, "grid": self.grid}


@dataclass(frozen=True)
class SectionTiles:
    """The tiles of a section; their numbers (column, row) begin anywhere, and may be below 0.

    Attributes:
        places: float64 (n, 2), the spots' centres in pixels of the tiles.
        read: the tiles of some numbers, int (m, 2) -> RGB uint8 (m, tile, tile, 3).
    """

    places: NDArray[np.float64]
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]]

    def of(self, rows: NDArray[np.intp]) -> Self:
        """The same for some of the spots."""
        return replace(self, places=self.places[rows])


def tiles_of(
    image: Image, wanted: Surroundings, centres: NDArray[np.float64], window: int, size: int, treat: Treatment
) -> SectionTiles:
    """The tiles of an image, read when they are asked for, at the scale at which `window` of its pixels make patches of `size`.

    Args:
        image: whose upper left pixel is that of tile (0, 0).
        wanted: the size of the tiles.
        centres: of the spots, float64 (n, 2) in pixels of the image.
        window: edge of a patch in pixels of the image.
        size: edge of a patch.
        treat: of their stain; what lies beyond the border stays white.
    """
    edge = _edge(wanted, window, size)

    def read(at: NDArray[np.int64]) -> NDArray[np.uint8]:
        shown = np.empty((len(at), wanted.tile, wanted.tile, 3), dtype=np.uint8)
        for i, (column, row) in enumerate(at.tolist()):
            shown[i] = resized(_padded_white(image, column * edge, row * edge, edge, treat), wanted.tile)
        return shown

    return SectionTiles(centres * (wanted.tile / edge), read)


def open_tiles(
    section: Section,
    wanted: Surroundings,
    size: int,
    microns_per_pixel: float | None,
    treat: Callable[[], Treatment],
    patch_key: str,
    cache: ArrayCache,
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The tiles that are seen around a section's spots, memory-mapped from the cache, cut first if they are not there.

    Args:
        section: whose image is cut.
        wanted: which tiles.
        size: edge of the patches in pixels, at whose scale the tiles are.
        microns_per_pixel: of the patches; None for native pixels.
        treat: called, where tiles are to be cut, for what treats them.
        patch_key: names the content of the patches.
        cache: where they are kept.

    Returns:
        RGB uint8 (rows, columns, tile, tile, 3), and the spots' places in their pixels, float64 (n, 2).

    Raises:
        DataError: no image, ready-made patches in its place, or an unknown scale.
    """
    path, centres = section.image, section.pixel_xy
    if path is None or centres is None or path.suffix.lower() == patch_file.SUFFIX:
        raise DataError(
            f"Section {section.id}: expected the image that its patches are cut from, to see the tiles around them, found "
            "none; give the image or slide, or choose a method that reads patches alone."
        )

    def build(writer: EntryWriter) -> None:
        image, window = open_image(path), patch_window(section, size, microns_per_pixel)
        tiles = tiles_of(image, wanted, centres, window, size, treat())
        # As far as a patch reaches, a tile further, and what is seen around that; nothing where the image has ended.
        reach = size / 2 + wanted.tile
        low = np.floor((tiles.places.min(axis=0) - reach) / wanted.tile) - wanted.grid // 2
        high = np.floor((tiles.places.max(axis=0) + reach) / wanted.tile) + wanted.grid // 2
        last = (np.array(image.size) - 1) // _edge(wanted, window, size)
        low, high = low.clip(0).astype(np.int64), np.minimum(high, last).astype(np.int64)
        columns, rows = np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1)
        out = writer.array("tiles", (len(rows), len(columns), wanted.tile, wanted.tile, 3), np.uint8)
        for i, row in enumerate(rows):
            out[i] = tiles.read(np.column_stack([columns, np.full_like(columns, row)]))
        writer.array("places", tiles.places.shape, np.float64)[:] = tiles.places - low * wanted.tile
        writer.metadata.update(wanted.identity(), patches=patch_key)

    found = cache.get("tiles", canonical_hash({"patches": patch_key, **wanted.identity()}), build).arrays
    return found["tiles"], found["places"]


def stored_tiles(pixels: NDArray[np.uint8], places: NDArray[np.float64]) -> SectionTiles:
    """The tiles that `open_tiles` gave; those that it left out are white."""
    shape = np.array(pixels.shape[1::-1])

    def read(at: NDArray[np.int64]) -> NDArray[np.uint8]:
        shown = np.full((len(at), *pixels.shape[2:]), WHITE, dtype=np.uint8)
        there = ((at >= 0) & (at < shape)).all(axis=1)
        shown[there] = pixels[at[there, 1], at[there, 0]]
        return shown

    return SectionTiles(places, read)


def _edge(wanted: Surroundings, window: int, size: int) -> int:
    """Of a tile, in pixels of the image."""
    return max(1, round(wanted.tile * window / size))


def _padded_white(image: Image, x: int, y: int, edge: int, treat: Treatment) -> NDArray[np.uint8]:
    left, top = max(x, 0), max(y, 0)
    right, bottom = (min(at + edge, length) for at, length in zip((x, y), image.size, strict=True))
    shown = np.full((edge, edge, 3), WHITE, dtype=np.uint8)
    if left < right and top < bottom:
        shown[top - y : bottom - y, left - x : right - x] = treat(image.read(left, top, right - left, bottom - top))
    return shown

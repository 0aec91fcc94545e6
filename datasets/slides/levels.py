"""The resolutions of a TIFF's image: which image of the file it is, and where the colours of each level lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .channels import channel_order
from .colours import check_colours, compression, interleaved, subsampling, to_rgb
from .kind import refused

MAX_TILE = 1 << 28  # bytes of one decoded tile or strip; a compressed one that states more is not read by region
_CONVERT = "convert it to OME-TIFF, for example with 'bfconvert -series 0 {name} {stem}.ome.tif' (Bio-Formats)"
_TILED = (
    "convert it to a tiled TIFF, for example with 'vips tiffsave {name} {stem}-tiled.tif --tile --pyramid --bigtiff'"
)
_PLANE = "give one focal plane in colour, for example with 'bfconvert -z 0 -timepoint 0 {name} {stem}-plane.tif'"


@dataclass(frozen=True)
class Level:
    """One resolution. `parts` are pages with the index of their first tile: one, or those of red, green and blue."""

    width: int
    height: int
    page: Any  # what all parts have in common: colours, compression, tile size
    parts: tuple[tuple[Any, int], ...]

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of a tile, or of a strip."""
        if self.page.is_tiled:
            return int(self.page.tilewidth), int(self.page.tilelength)
        return self.width, int(min(self.page.rowsperstrip, self.height))

    def rgb(self, values: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of the decoded values of all parts, each uint8 (height, width, samples)."""
        if len(values) == 1:
            return np.ascontiguousarray(to_rgb(values[0], self.page))
        together = np.concatenate(values, axis=-1)
        return together if self.page.samplesperpixel == 1 else np.ascontiguousarray(to_rgb(together, self.page))

    @property
    def by_row(self) -> bool:
        """Whether the values of a row lie in the file as they are: in uncompressed strips."""
        page = self.page
        plain = page.fillorder == 1 and page.predictor == 1 and subsampling(page) == (1, 1)
        return bool(plain and not page.is_tiled and compression(page) == "NONE")

    @property
    def n_tiles(self) -> int:
        """Number of tiles or strips of one part."""
        width, height = self.tile
        return -(-self.width // width) * -(-self.height // height)


def largest(file: Any) -> Any:
    """The series of a file's largest image, the first of several: macro images and labels are smaller.

    Raises:
        ValueError: there is none.
    """
    if not file.series:
        raise ValueError("it holds no image")
    return max(file.series, key=_area)


def refuse_page(page: Any, path: Path) -> None:
    """Refuse an image whose numbers are no 8-bit colours or grey.

    Raises:
        DataError: names its format or colours, and the conversion.
    """
    if "PerkinElmer-QPI" in f"{page.software} {page.description[:2000]}":
        raise refused(path, "an Akoya or PerkinElmer QPTIFF", _CONVERT)
    check_colours(page, path)


def _area(series: Any) -> int:
    width, height = size_of(series.levels[0].keyframe)
    return width * height


def size_of(page: Any) -> tuple[int, int]:
    """(width, height) in pixels of a TIFF page."""
    return int(page.imagewidth), int(page.imagelength)


def level_of(level: Any, of_ome: Any | None, path: Path) -> Level:
    """The pages that a level's colours come from.

    Raises:
        DataError: several focal planes or times, or channels that are not colours.
    """
    page = level.keyframe
    axes = {axis: n for axis, n in zip(level.axes, level.shape, strict=True) if n > 1 and axis not in "YXS"}
    n = axes.pop("C", 1)
    pages = list(level.pages)
    if axes or (n > 1 and page.samplesperpixel > 1) or len(pages) < n:
        found = " x ".join(f"{n}" for n in (*axes.values(), *((n,) if n > 1 else ())))
        raise refused(path, f"a stack of {found} images", _PLANE)
    width, height = size_of(page)
    if any(one is None for one in pages):
        raise DataError(
            f"Expected all channels of {path}, but files that its metadata name are missing; copy them too."
        )
    if page.samplesperpixel > 1:
        if interleaved(page):
            return Level(width, height, page, ((pages[0], 0),))
        count = len(page.dataoffsets) // page.samplesperpixel
        return Level(width, height, page, tuple((pages[0], i * count) for i in range(min(3, page.samplesperpixel))))
    order, found = channel_order(of_ome, n)
    if order is None:
        raise refused(path, found, "export the brightfield H&E image as RGB, for example with QuPath")
    return Level(width, height, page, ((pages[0], 0),) if n == 1 else tuple((pages[i], 0) for i in order))


def check_tiles(level: Level, path: Path) -> None:
    """Hold a level's tiles against what can be read.

    Raises:
        DataError: a compressed piece that is too large.
        ValueError: tiles without a size, or fewer than the level has.
    """
    width, height = level.tile
    if not (width > 0 and height > 0 and level.width > 0 and level.height > 0):
        raise ValueError(f"it states {level.width} x {level.height} pixels in tiles of {width} x {height}")
    if any(len(page.dataoffsets) < first + level.n_tiles for page, first in level.parts):
        raise ValueError(f"it names fewer tiles than {level.width} x {level.height} pixels need")
    if width * height * level.page.samplesperpixel > MAX_TILE and not level.by_row:
        raise refused(
            path, f"one compressed piece of {width} x {height} pixels, which cannot be read by region", _TILED
        )


def alike(page: Any, first: Any) -> bool:
    """Whether a level is of the pyramid: a label or a mask is of another kind."""
    return bool(page.dtype == first.dtype and page.samplesperpixel == first.samplesperpixel)

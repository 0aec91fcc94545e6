"""Slides as tiled TIFF, OME-TIFF or Aperio SVS, read by region: only the tiles that a region touches are decoded.

Decoded tiles are kept up to a fixed number of bytes, so memory does not grow with the slide.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

SUFFIXES = {".tif", ".tiff", ".svs", ".btf"}
MAX_TILE = 1 << 28  # bytes of one decoded tile or strip; a file that states more is not read by region
KEPT = 1 << 26  # bytes of decoded tiles that are kept
PLAUSIBLE = (0.05, 20.0)  # microns per pixel of a slide; print resolutions such as 72 or 300 dpi lie outside
_MICRONS = {"µm": 1.0, "μm": 1.0, "um": 1.0, "&#181;m": 1.0, "nm": 1e-3, "mm": 1e3}


class Slide:
    """A TIFF file that gives up regions of each of its levels.

    Attributes:
        size: (width, height) of the full resolution, pixels. levels: sizes of all levels, the full one first.
        microns_per_pixel: as the file states it (Aperio's MPP, OME's PhysicalSizeX, TIFF's resolution), or None.

    Raises:
        DataError: no readable TIFF, not 8-bit RGB or grey with interleaved channels, or tiles too large to decode.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
            series = self._file.series[0]
            self._pages: list[Any] = [level.keyframe for level in series.levels]
        except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
            raise _damaged(path, error) from error
        _check(self._pages[0], path)
        shapes = [(int(page.imagewidth), int(page.imagelength)) for page in self._pages]
        # A level of another kind (a label, a mask) is not part of the pyramid.
        keep = [i for i, page in enumerate(self._pages) if i == 0 or _alike(page, self._pages[0])]
        self._pages = [self._pages[i] for i in keep]
        self.levels: tuple[tuple[int, int], ...] = tuple(shapes[i] for i in keep)
        self.size = self.levels[0]
        self.microns_per_pixel = _microns(self._file, self._pages[0])
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of a region that lies inside a level; (x, y) in that level's pixels.

        Raises:
            DataError: a damaged tile.
        """
        page = self._pages[level]
        tile_w, tile_h = _tile_size(page)
        across = -(-int(page.imagewidth) // tile_w)
        out = np.empty((height, width, 3), dtype=np.uint8)
        for row in range(y // tile_h, (y + height - 1) // tile_h + 1):
            top, bottom = max(y, row * tile_h), min(y + height, (row + 1) * tile_h)
            for column in range(x // tile_w, (x + width - 1) // tile_w + 1):
                left, right = max(x, column * tile_w), min(x + width, (column + 1) * tile_w)
                tile = self._tile(level, row * across + column)
                out[top - y : bottom - y, left - x : right - x] = tile[
                    top - row * tile_h : bottom - row * tile_h, left - column * tile_w : right - column * tile_w
                ]
        return out

    def decode_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode every tile of every level, one at a time, and keep none; `progress` hears (done, total).

        Raises:
            DataError: a damaged tile.
        """
        done, total = 0, sum(len(page.dataoffsets) for page in self._pages)
        for page in self._pages:
            for index in range(len(page.dataoffsets)):
                self._decode(page, index)
                done += 1
                if progress is not None:
                    progress(done, total)

    def close(self) -> None:
        """Close the file; the kept tiles go too."""
        self._tiles.clear()
        self._bytes = 0
        self._file.close()

    def _tile(self, level: int, index: int) -> NDArray[np.uint8]:
        key = (level, index)
        if key in self._tiles:
            self._tiles.move_to_end(key)
            return self._tiles[key]
        tile = self._decode(self._pages[level], index)
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > KEPT and len(self._tiles) > 1:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, page: Any, index: int) -> NDArray[np.uint8]:
        tile_w, tile_h = _tile_size(page)
        offset, size = page.dataoffsets[index], page.databytecounts[index]
        if size == 0:  # a sparse slide leaves out tiles of bare glass
            return np.full((tile_h, tile_w, 3), 255, dtype=np.uint8)
        handle = self._file.filehandle
        try:
            handle.seek(offset)
            data = handle.read(size)
            if len(data) != size:
                raise ValueError("the file ends within a tile")
            values, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        except ImportError as error:
            raise DataError(
                f"{self._path} is compressed with {page.compression.name}, which needs: pip install imagecodecs."
            ) from error
        except Exception as error:
            raise _damaged(self._path, error) from error
        if values is None:
            return np.full((tile_h, tile_w, 3), 255, dtype=np.uint8)
        pixels = values[0]
        if pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        return np.ascontiguousarray(pixels[..., :3])


def _check(page: Any, path: Path) -> None:
    def refuse(found: str) -> DataError:
        return DataError(
            f"Expected an 8-bit RGB slide with interleaved channels in {path}, found {found}; convert it (for "
            "example with vips tiffsave)."
        )

    if page.dtype != np.uint8:
        raise refuse(f"{page.dtype} values")
    if page.photometric.name not in ("RGB", "YCBCR", "MINISBLACK"):
        raise refuse(f"{page.photometric.name.lower()} colours")
    if page.samplesperpixel not in (1, 3, 4) or (page.samplesperpixel > 1 and page.planarconfig.name != "CONTIG"):
        raise refuse(f"{page.samplesperpixel} channels, {page.planarconfig.name.lower()}")
    width, height = _tile_size(page)
    if width * height * page.samplesperpixel > MAX_TILE:
        raise refuse(f"one piece of {width} x {height} pixels, which cannot be read by region")


def _alike(page: Any, first: Any) -> bool:
    return bool(page.dtype == first.dtype and page.samplesperpixel == first.samplesperpixel)


def _tile_size(page: Any) -> tuple[int, int]:
    """Width and height of a tile, or of a strip."""
    if page.is_tiled:
        return int(page.tilewidth), int(page.tilelength)
    return int(page.imagewidth), int(min(page.rowsperstrip, page.imagelength))


def _microns(file: Any, page: Any) -> float | None:
    found = None
    if file.is_svs:
        match = re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description)
        found = float(match[1]) if match else None
    elif file.is_ome and file.ome_metadata:
        match = re.search(r'\bPhysicalSizeX="([0-9.eE+-]+)"', file.ome_metadata)
        unit = re.search(r'\bPhysicalSizeXUnit="([^"]+)"', file.ome_metadata)
        factor = _MICRONS.get(unit[1]) if unit else 1.0  # microns are OME's default
        found = float(match[1]) * factor if match and factor else None
    if found is None and "XResolution" in page.tags:
        numerator, denominator = page.tags["XResolution"].value
        unit_microns = {2: 25400.0, 3: 10000.0}.get(
            int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 2
        )
        found = unit_microns * denominator / numerator if unit_microns and numerator else None
    return found if found is not None and PLAUSIBLE[0] <= found <= PLAUSIBLE[1] else None


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return DataError(f"Expected a readable slide in {path}, but: {reason}; copy the file again.")

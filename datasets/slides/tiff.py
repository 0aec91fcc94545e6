"""Slides as TIFF or OME-TIFF, read by region: only the tiles that a region touches are decoded.

Of a file's images the largest is read. Decoded tiles are kept up to a fixed number of bytes, so memory does not grow with
the slide; rows of uncompressed strips are read where they lie, whatever the strips' size.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..scale import Stated
from .channels import ome_pixels
from .colours import compression, interleaved, subsampling, unpack_subsampled
from .levels import Level, alike, check_tiles, largest, level_of, refuse_page, size_of
from .tiff_scale import tiff_scale

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds wrong is told in one sentence of ours
KEPT = 1 << 26  # bytes of decoded tiles that are kept


class TiffSlide:
    """A TIFF file that gives up regions of each of its levels.

    Its attributes are those of `datasets.images.Image`.

    Raises:
        DataError: no readable TIFF, not 8-bit colours or grey, a stack or fluorescence, or tiles too large to decode.
    """

    parallel = False

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = path
        try:
            self._file = tifffile.TiffFile(path)
            series = largest(self._file)
            first = series.levels[0].keyframe
            refuse_page(first, path)
            of_ome = (
                ome_pixels(self._file.ome_metadata or "", *size_of(first), series.name) if self._file.is_ome else None
            )
            levels = [level_of(each, of_ome, path) for each in series.levels if alike(each.keyframe, first)]
            for level in levels:
                check_tiles(level, path)
            scale, notes = tiff_scale(self._file, first, of_ome)
        except DataError:
            raise
        except Exception as error:  # a damaged file makes its library stumble anywhere
            raise _damaged(path, error) from error
        self._levels = [level for level in levels if len(level.parts) == len(levels[0].parts)]
        self.levels: tuple[tuple[int, int], ...] = tuple((level.width, level.height) for level in self._levels)
        self.size = self.levels[0]
        self.scale: Stated | None = scale
        self.notes = notes
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of a region that lies inside a level; (x, y) in that level's pixels.

        Raises:
            DataError: a damaged tile.
        """
        of = self._levels[level]
        if of.by_row:
            return self._rows(of, x, y, width, height)
        tile_w, tile_h = of.tile
        across = -(-of.width // tile_w)
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
        counts = [level.height if level.by_row else level.n_tiles for level in self._levels]
        done, total = 0, sum(counts)
        for level, n in zip(self._levels, counts, strict=True):
            for index in range(n):
                if level.by_row:
                    self._rows(level, 0, index, level.width, 1)
                else:
                    self._decode(level, index)
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
        tile = self._decode(self._levels[level], index)
        self._tiles[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > KEPT and len(self._tiles) > 1:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, level: Level, index: int) -> NDArray[np.uint8]:
        try:
            parts = [self._values(level, page, first + index) for page, first in level.parts]
        except ImportError as error:
            raise DataError(
                f"{self._path} is compressed with {compression(level.page)}, which needs: pip install imagecodecs."
            ) from error
        except Exception as error:
            raise _damaged(self._path, error) from error
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):  # a sparse slide leaves out tiles of bare glass
            width, height = level.tile
            return np.full((height, width, 3), 255, dtype=np.uint8)
        return level.rgb(found)

    def _values(self, level: Level, page: Any, index: int) -> NDArray[np.uint8] | None:
        """A tile of one part as it is stored, uint8 (height, width, samples); None where the file leaves it out."""
        offset, size = page.dataoffsets[index], page.databytecounts[index]
        if size == 0:
            return None
        data = self._bytes_at(page, offset, size)
        across, down = subsampling(level.page)
        if (across, down) != (1, 1):
            return self._subsampled(level, data, index, across, down)
        values, _, _ = page.keyframe.decode(data, index, jpegtables=page.jpegtables)
        return None if values is None else np.asarray(values[0])

    def _subsampled(self, level: Level, data: bytes, index: int, across: int, down: int) -> NDArray[np.uint8]:
        import tifffile

        width, height = level.tile
        if not level.page.is_tiled:
            height = min(height, level.height - index * height)
        if level.page.predictor != 1:
            raise ValueError("its YCbCr is stored as differences, which no standard defines")
        if compression(level.page) != "NONE":
            decompress = tifffile.TIFF.DECOMPRESSORS[level.page.compression]
            size = -(-width // across) * -(-height // down) * (across * down + 2)
            data = bytes(decompress(data, out=size))
        return unpack_subsampled(data, width, height, across, down)

    def _rows(self, level: Level, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """A region of uncompressed strips: of each row the bytes that are wanted."""
        rows_per_strip = level.tile[1]
        n = int(level.page.samplesperpixel) if interleaved(level.page) else 1
        out = np.empty((len(level.parts), height, width, n), dtype=np.uint8)
        try:
            for part, (page, first) in enumerate(level.parts):
                for row in range(y, y + height):
                    strip, inner = divmod(row, rows_per_strip)
                    offset = page.dataoffsets[first + strip] + (inner * level.width + x) * n
                    line = np.frombuffer(self._bytes_at(page, offset, width * n), np.uint8)
                    out[part, row - y] = line.reshape(width, n)
        except (OSError, ValueError, IndexError) as error:
            raise _damaged(self._path, error) from error
        return level.rgb(list(out))

    def _bytes_at(self, page: Any, offset: int, size: int) -> bytes:
        handle = page.parent.filehandle  # an OME-TIFF may have its pages in several files
        handle.seek(offset)
        data: bytes = handle.read(size)
        if len(data) != size:
            raise ValueError("the file ends within a tile")
        return data


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return DataError(f"Expected a readable slide in {path}, but: {reason}; copy the file again.")

"""Open a section's image: its size without decoding, its pixels by region.

Coordinates are raster pixels as stored; an EXIF orientation is not applied, because spot tables refer to the raster.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .readers.slides import SUFFIXES, Slide

MAX_PIXELS = 500_000_000  # five times a HER2ST section; a whole-slide image must be read by region instead
_JPEG = {".jpg", ".jpeg"}
_MODES = {"RGB", "RGBA", "L", "P"}  # 8 bits; anything else (16 bits, CMYK) would need a choice of conversion


class Image(Protocol):
    """An image that gives up regions. `size` is (width, height) in pixels."""

    @property
    def size(self) -> tuple[int, int]: ...

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of a region that lies inside the image; (x, y) is its upper left pixel.

        Raises:
            DataError: a damaged file.
        """


class JpegImage:
    """A JPEG file, decoded whole at the first `read`; damage is never papered over with grey.

    Raises:
        DataError: no readable JPEG, or more than `MAX_PIXELS`.
    """

    def __init__(self, path: Path) -> None:
        import simplejpeg

        self._path = path
        self._data = _bytes(path)
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(self._data)
        except ValueError as error:
            raise _damaged(path, error) from error
        if colours == "CMYK":
            raise DataError(f"Expected an RGB image in {path}, found CMYK; convert it.")
        self.size = _bounded(path, width, height)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return self._pixels[y : y + height, x : x + width]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        import simplejpeg

        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self._data, colorspace="RGB", strict=True)
        except ValueError as error:
            raise _damaged(self._path, error) from error
        return pixels


class PillowImage:
    """Any other 8-bit format that Pillow reads, decoded whole at the first `read`; transparency is dropped.

    Raises:
        DataError: no readable image, not 8 bits a channel, or more pixels than Pillow's own limit (179 million).
    """

    def __init__(self, path: Path) -> None:
        import PIL.Image

        self._path = path
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", PIL.Image.DecompressionBombWarning
            )  # its error, at twice the size, still stands
            try:
                self._image = PIL.Image.open(path)
            except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
                raise _damaged(path, error) from error
        if self._image.mode not in _MODES:
            raise DataError(f"Expected an 8-bit RGB image in {path}, found mode {self._image.mode}; convert it.")
        self.size = _bounded(path, *self._image.size)

    def read(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        return self._pixels[y : y + height, x : x + width]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        try:
            return np.asarray(self._image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise _damaged(self._path, error) from error


def open_image(path: Path) -> Image:
    """Open an image by its file name's ending.

    Raises:
        DataError: missing, damaged, of an unsupported colour mode, or too large to decode whole.
    """
    if path.suffix.lower() in SUFFIXES:
        return Slide(path)
    return JpegImage(path) if path.suffix.lower() in _JPEG else PillowImage(path)


def decode_whole(image: Image, progress: Callable[[int, int], None] | None = None) -> None:
    """Decode all of an opened image, to see whether it is sound; a slide tile by tile, with (done, total) reported.

    Raises:
        DataError: a damaged or truncated file.
    """
    if isinstance(image, Slide):
        image.decode_all(progress)
    else:
        image.read(0, 0, 1, 1)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from error


def _bounded(path: Path, width: int, height: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"Expected at most {MAX_PIXELS:,} pixels in {path}, its header states {width} x {height}; "
            "give a smaller image, or a tiled TIFF that can be read by region."
        )
    return width, height


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).rstrip(".") or type(error).__name__
    return DataError(f"Expected a readable image in {path}, but: {reason}; fetch the file again.")

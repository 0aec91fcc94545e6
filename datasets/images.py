"""Open a section's image: its size without decoding, its pixels by region. What a file is, its first bytes tell.

Coordinates are raster pixels as stored; an EXIF orientation is not applied, because spot tables refer to the raster.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, reason
from ..files import check_regular, regular_bytes
from .scale import Stated
from .slides.kind import kind_of, refused
from .slides.tiff_scale import plausible

if TYPE_CHECKING:
    import PIL.Image

MAX_PIXELS = 500_000_000  # five times a HER2ST section; a whole-slide image must be read by region instead
_MODES = {"RGB", "RGBA", "L", "LA", "P", "PA", "1"}  # up to 8 bits; anything else would need a choice of conversion
_PROGRAMS = {"EPS", "WMF"}  # formats that run a program of others to be drawn
# libjpeg's warnings that pixels were lost; with any other the image is whole, and every viewer shows it.
_LOST = ("premature end", "huffman code", "arithmetic code", "instead of rst")
_EIGHT_BITS = "convert it to 8-bit RGB, for example with 'vips cast {name} {stem}-8bit.png uchar --shift'"
_RGB = "convert it, for example with 'vips icc_transform {name} {stem}-rgb.png srgb'"


class Image(Protocol):
    """An image that gives up regions."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, of the full resolution."""

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of every resolution, the full one first."""

    @property
    def scale(self) -> Stated | None:
        """Microns per pixel that the file states, with where it says so; None if it does not."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file; complete only when all of it was decoded."""

    @property
    def parallel(self) -> bool:
        """Whether `read` may be called from several threads at once."""

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of a region that lies inside a level; (x, y) is its upper left pixel there.

        Raises:
            DataError: a damaged file.
        """

    def decode_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Decode all of it, to see whether it is sound; of a slide piece by piece, with (done, total) reported.

        Raises:
            DataError: a damaged or truncated file.
        """


class _Whole:
    """An image that is decoded whole at the first `read`."""

    parallel = False
    scale: Stated | None = None
    notes: tuple[str, ...] = ()
    size: tuple[int, int]

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        return (self.size,)

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> NDArray[np.uint8]:
        return self._pixels[y : y + height, x : x + width]

    def decode_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        self.read(0, 0, 1, 1)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        raise NotImplementedError


class JpegImage(_Whole):
    """A JPEG file; lost pixels are never papered over with grey, a warning that costs none is a note.

    Raises:
        DataError: no readable JPEG, CMYK, or more than `MAX_PIXELS`.
    """

    def __init__(self, path: Path) -> None:
        import simplejpeg

        self._path = path
        self._data = _bytes(path)
        self._warning = ""
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(self._data)
        except ValueError as error:  # what turbojpeg's own interface does not take, libjpeg may
            self._warn(error)
            image = self._opened()
            (width, height), colours = image.size, image.mode
        if colours in ("CMYK", "YCCK"):
            raise refused(path, "a JPEG of CMYK colours", _RGB)
        self.size = _bounded(path, width, height)
        self.scale = _jfif(self._data)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        import simplejpeg

        if not self._warning:
            try:
                pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self._data, colorspace="RGB", strict=True)
                return pixels
            except ValueError as error:
                self._warn(error)
        self.notes = (
            f"{self._path.name}: {self._warning} (a warning of libjpeg; the image is read as viewers read it)",
        )
        return _converted(self._path, self._opened())

    def _warn(self, error: ValueError) -> None:
        """Keep what libjpeg says.

        Raises:
            DataError: it says that pixels were lost.
        """
        self._warning = str(error).rstrip(".")
        if any(lost in self._warning.lower() for lost in _LOST):
            raise _damaged(self._path, error) from error

    def _opened(self) -> PIL.Image.Image:
        import PIL.Image

        try:
            return PIL.Image.open(io.BytesIO(self._data), formats=["JPEG"])
        except Exception as error:  # damaged bytes reach every corner of Pillow
            raise _damaged(self._path, ValueError(self._warning)) from error


class PillowImage(_Whole):
    """Any other 8-bit format that Pillow reads; transparency is dropped.

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
                check_regular(path)
                PIL.Image.init()
                self._image = PIL.Image.open(path, formats=[name for name in PIL.Image.ID if name not in _PROGRAMS])
            except Exception as error:  # damaged bytes reach every corner of Pillow
                large = isinstance(error, PIL.Image.DecompressionBombError)
                raise _damaged(path, error, "write it as a tiled TIFF" if large else "fetch the file again") from error
        raw = str(self._image.tile[0][3]) if self._image.tile else ""  # Pillow cuts 16-bit RGB to 8 without a word
        if self._image.mode not in _MODES or ";16" in raw:
            found = "16 bits a channel" if "16" in self._image.mode + raw else f"colours of mode {self._image.mode}"
            way_out = _RGB if self._image.mode == "CMYK" else _EIGHT_BITS
            raise refused(path, f"a {self._image.format} of {found}", way_out)
        self.size = _bounded(path, *self._image.size)
        per_inch = self._image.info.get("dpi", (0, 0))[0]
        stated = plausible(25400 / float(per_inch), f"the {self._image.format}'s resolution") if per_inch else []
        self.scale = stated[0] if stated else None

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return _converted(self._path, self._image)


def open_image(path: Path) -> Image:
    """Open an image by its first bytes.

    Raises:
        DataError: missing, damaged, of a format or colours that are not read, or too large to decode whole.
    """
    kind = kind_of(path)
    if kind == "jpeg":
        return JpegImage(path)
    if kind == "tiff":
        from .slides.tiff import TiffSlide

        return TiffSlide(path)
    if kind == "vendor":
        from .slides.vendor import VendorSlide

        return VendorSlide(path)
    return PillowImage(path)


def _jfif(data: bytes) -> Stated | None:
    """The density of a JPEG's JFIF header, where it is one of a slide."""
    place = data.find(b"JFIF\0", 0, 64)
    if place < 0 or len(data) < place + 10:
        return None
    unit, across = struct.unpack(">BH", data[place + 7 : place + 10])
    microns = {1: 25400.0, 2: 10000.0}.get(unit)
    stated = plausible(microns / across, "the JPEG's resolution") if microns and across else []
    return stated[0] if stated else None


def _converted(path: Path, image: PIL.Image.Image) -> NDArray[np.uint8]:
    try:
        return np.asarray(image.convert("RGB"))
    except Exception as error:  # damaged bytes reach every corner of Pillow
        raise _damaged(path, error) from error


def _bytes(path: Path) -> bytes:
    try:
        return regular_bytes(path)
    except OSError as error:
        raise _damaged(path, error) from error


def _bounded(path: Path, width: int, height: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS:
        raise DataError(
            f"Expected at most {MAX_PIXELS:,} pixels in {path}, its header states {width} x {height}; "
            "give a smaller image, or a tiled TIFF that can be read by region."
        )
    return width, height


def _damaged(path: Path, error: Exception, remedy: str = "fetch the file again") -> DataError:
    return DataError(f"Expected a readable image in {path}, but: {reason(error)}; {remedy}.")

"""Slides of scanners' own formats, through OpenSlide.

Aperio SVS, Hamamatsu NDPI and VMS, 3DHISTECH MRXS, Leica SCN, Ventana BIF, Philips TIFF, Trestle, Sakura and DICOM.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..scale import Stated, choose
from .colours import check_colours
from .kind import refused
from .tiff_scale import MICRONS, described_scale, plausible

KEPT = 1 << 26  # bytes of decoded tiles that are kept
BLOCK = 2048  # pixels of the edge of what is read at once when all is read


class VendorSlide:
    """A slide that OpenSlide opens; what the scanner left out reads as the slide's own background.

    Its attributes are those of `datasets.images.Image`.

    Raises:
        DataError: a slide that OpenSlide cannot open, of more than 8 bits, of CMYK or fluorescence.
    """

    parallel = True

    def __init__(self, path: Path) -> None:
        import openslide

        self._path = path
        self._links: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._slide = openslide.OpenSlide(self._spelled(path))
            self._slide.set_cache(openslide.OpenSlideCache(KEPT))
        except openslide.OpenSlideError as error:
            raise _damaged(path, error) from error
        properties = dict(self._slide.properties)
        self._check(properties)
        self.levels: tuple[tuple[int, int], ...] = tuple(self._slide.level_dimensions)
        self.size = self.levels[0]
        colour = properties.get("openslide.background-color", "FFFFFF")
        self._background = np.frombuffer(bytes.fromhex(colour), np.uint8)
        self.scale: Stated | None
        self.scale, self.notes = _scale(properties)

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> NDArray[np.uint8]:
        """RGB uint8 (height, width, 3) of a region that lies inside a level; (x, y) in that level's pixels.

        Raises:
            DataError: a damaged slide.
        """
        import openslide

        factor = self._slide.level_downsamples[level]
        try:
            region = self._slide.read_region((round(x * factor), round(y * factor)), level, (width, height))
        except openslide.OpenSlideError as error:
            raise _damaged(self._path, error) from error
        values = np.asarray(region)
        alpha = values[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(values[..., :3])
        share = alpha.astype(np.float32) / 255
        return np.rint(values[..., :3] * share + self._background * (1 - share)).astype(np.uint8)

    def decode_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read every level block by block and keep none; `progress` hears (done, total).

        Raises:
            DataError: a damaged slide.
        """
        blocks = [
            (x, y, min(BLOCK, width - x), min(BLOCK, height - y), level)
            for level, (width, height) in enumerate(self.levels)
            for y in range(0, height, BLOCK)
            for x in range(0, width, BLOCK)
        ]
        for done, block in enumerate(blocks, start=1):
            self.read(*block)
            if progress is not None:
                progress(done, len(blocks))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()
        if self._links is not None:
            self._links.cleanup()

    def _spelled(self, path: Path) -> str:
        """The file under a name that OpenSlide takes: it knows a MRXS slide by an ending in small letters."""
        if path.suffix.lower() != ".mrxs" or path.suffix == ".mrxs":
            return os.fspath(path)
        self._links = tempfile.TemporaryDirectory(prefix="qbench-mrxs-")
        link = Path(self._links.name) / f"{path.stem}.mrxs"
        link.symlink_to(path.absolute())
        link.with_suffix("").symlink_to(path.with_suffix("").absolute(), target_is_directory=True)
        return os.fspath(link)

    def _check(self, properties: dict[str, str]) -> None:
        """Refuse what OpenSlide would turn into 8-bit RGB in silence."""
        import tifffile

        if "FLUORESCENCE" in properties.get("mirax.GENERAL.SLIDE_TYPE", "").upper():
            raise refused(self._path, "a fluorescence slide", "give the scan of the H&E stain")
        if properties.get("openslide.vendor") == "hamamatsu":
            return  # JPEG of 8 bits throughout, in a TIFF of its own making
        try:
            with tifffile.TiffFile(self._path) as file:
                page: Any = file.pages.first
                check_colours(page, self._path)
        except tifffile.TiffFileError:
            pass  # no TIFF: these formats hold JPEGs, whose bits OpenSlide itself checks


def _scale(properties: dict[str, str]) -> tuple[Stated | None, tuple[str, ...]]:
    """What the properties state: OpenSlide's reading of the vendor's metadata first."""
    vendor = properties.get("openslide.vendor", "the scanner")
    why = f"it is {vendor}'s own statement"
    found = [
        Stated(float(properties[key]), f"{key} ({vendor})", why)
        for key in ("openslide.mpp-x", "openslide.mpp-y")
        if key in properties
    ]
    if not found:
        found = described_scale(properties.get("openslide.comment", ""))
        per_unit = MICRONS.get({"centimeter": "cm", "inch": "in"}.get(properties.get("tiff.ResolutionUnit", ""), ""))
        pixels = float(properties.get("tiff.XResolution", 0))
        if per_unit is not None and pixels > 0:
            found += plausible(per_unit / pixels, "the TIFF's resolution")
    return choose(found)


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return DataError(f"Expected a readable slide in {path}, but: {reason}; copy the file again.")

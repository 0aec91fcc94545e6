"""Microns per pixel as the metadata of a TIFF state them: Aperio's, OME's, ImageJ's, vips' and the resolution tags."""

from __future__ import annotations

import re
from typing import Any

from ..scale import LEAST, MOST, Stated, choose

MICRONS = {
    "pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "\\u00b5m": 1.0, "\\u00B5m": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4,
    "dm": 1e5, "m": 1e6, "km": 1e9, "inch": 25400.0, "in": 25400.0, "ft": 304800.0, "thou": 25.4, "mil": 25.4,
    "pt": 25400.0 / 72, "li": 25400.0 / 12,
}  # fmt: skip
_NUMBER = r"([0-9]+(?:[.,][0-9]*)?(?:[eE][+-]?[0-9]+)?)"
_APERIO = re.compile(rf"\bMPP\s*=\s*{_NUMBER}")
_VIPS = re.compile(rf"openslide\.mpp-x</name>\s*<value[^>]*>{_NUMBER}")
_IMAGEJ = re.compile(r"^unit=(.+)$", re.MULTILINE)


def tiff_scale(file: Any, page: Any, of_ome: Any | None) -> tuple[Stated | None, tuple[str, ...]]:
    """What a TIFF states of the image on `page`, and a note where it contradicts itself; `of_ome` is its element Pixels."""
    text = page.description or file.pages[0].description or ""
    found = [*_ome(of_ome), *described_scale(text)]
    unit = page.tags["ResolutionUnit"].value if "ResolutionUnit" in page.tags else 2
    per_pixel = {2: 25400.0, 3: 10000.0}.get(int(unit))
    imagej = _IMAGEJ.search(text) if text.startswith("ImageJ=") else None
    source = "the TIFF's resolution"
    if imagej is not None:
        per_pixel, source = (
            MICRONS.get(imagej[1].strip()),
            f"the TIFF's resolution in ImageJ's unit {imagej[1].strip()}",
        )
    if per_pixel is not None and "XResolution" in page.tags:
        pixels, units = page.tags["XResolution"].value
        if pixels and units:
            found += plausible(per_pixel * units / pixels, source)
    return choose(found)


def described_scale(description: str) -> list[Stated]:
    """What an ImageDescription says: Aperio's MPP, or the one that vips carried over from another slide."""
    found = []
    for pattern, source in ((_APERIO, "Aperio's MPP"), (_VIPS, "the openslide.mpp-x that vips kept")):
        if match := pattern.search(description):
            found.append(Stated(_value(match[1]), source, "the scanner wrote it"))
    return [one for one in found if one.microns > 0]


def plausible(microns: float, source: str) -> list[Stated]:
    """A resolution tag as a statement, where it can be one of a slide: most are those of a printer or a screen (72 dpi)."""
    return [Stated(microns, source)] if LEAST <= microns <= MOST else []


def _ome(pixels: Any | None) -> list[Stated]:
    """PhysicalSizeX and Y of the image's own element; a unit that is no length (pixel, reference frame) states nothing."""
    if pixels is None:
        return []
    found = []
    for axis in "XY":
        factor = MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))  # microns are OME's default
        size = re.fullmatch(_NUMBER, pixels.get(f"PhysicalSize{axis}", "").strip())
        if factor is not None and size is not None and float(size[1]) > 0:
            found.append(
                Stated(float(size[1]) * factor, f"OME's PhysicalSize{axis}", "it is stated of this very image")
            )
    return found


def _value(number: str) -> float:
    """A number with a decimal point or comma."""
    return float(number.replace(",", "."))

"""What a decoded piece of a TIFF means in RGB: grey, inverted grey, palettes and YCbCr as the TIFF 6.0 standard has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .kind import refused

_KNOWN = ("RGB", "YCBCR", "MINISBLACK", "MINISWHITE", "PALETTE")
_AS_RGB = (
    "OJPEG",
    "JPEG",
    "JPEG_LOSSY",
    "ALT_JPEG",
    "WEBP",
    "WEBP_DEPRECATED",
    "JPEGXL",
    "JPEGXL_DNG",
    "JPEGXR",
    "JPEGXR_NDPI",
)
_WAVELETS = ("JPEG2000", "JPEG_2000_LOSSY", "APERIO_JP2000_YCBC", "APERIO_JP2000_RGB")  # hold their sampling themselves
_TO_EIGHT = "convert it to 8 bits, for example with 'vips cast {name} {stem}-8bit.tif uchar --shift'"
_TO_RGB = "convert it, for example with 'vips icc_transform {name} {stem}-rgb.tif srgb'"


def photometric(page: Any) -> str:
    """Name of what a page's numbers mean, such as "RGB"; tags of unknown values come as plain numbers."""
    return str(
        getattr(page.photometric, "name", None) or {0: "MINISWHITE", 1: "MINISBLACK"}.get(page.photometric, "unknown")
    )


def compression(page: Any) -> str:
    """Name of a page's compression, "NONE" where there is none."""
    return str(getattr(page.compression, "name", None) or {1: "NONE"}.get(page.compression, "unknown"))


def interleaved(page: Any) -> bool:
    """Whether the channels of a pixel lie side by side."""
    return bool(page.planarconfig == 1)


def check_colours(page: Any, path: Path) -> None:
    """Refuse a page whose numbers are not 8-bit RGB or grey.

    Raises:
        DataError: names the bits or colours, and the conversion.
    """
    if page.dtype != np.uint8 or page.bitspersample != 8:
        bits = f"{page.bitspersample} bits a channel" + (" of floating point" if page.sampleformat == 3 else "")
        raise refused(path, f"a TIFF of {bits}", _TO_EIGHT)
    if photometric(page) not in _KNOWN:
        name = {"SEPARATED": "CMYK"}.get(photometric(page), photometric(page))
        raise refused(path, f"a TIFF of {name} colours", _TO_RGB)
    coloured = photometric(page) in ("RGB", "YCBCR")
    if page.samplesperpixel not in ((3, 4) if coloured else (1, 2)):
        raise refused(path, f"a TIFF of {page.samplesperpixel} channels ({photometric(page)})", _TO_RGB)


def to_rgb(values: NDArray[np.uint8], page: Any) -> NDArray[np.uint8]:
    """RGB uint8 (height, width, 3) of decoded values, uint8 (height, width, samples); transparency is dropped."""
    kind = photometric(page)
    if kind in ("RGB", "YCBCR"):
        values = values[..., :3]
        return from_ycbcr(values, page) if needs_conversion(page) else values
    grey = values[..., 0]
    if kind == "PALETTE":
        return np.ascontiguousarray((page.colormap.T >> 8).astype(np.uint8)[grey])
    return np.repeat((255 - grey if kind == "MINISWHITE" else grey)[..., None], 3, axis=-1)


def needs_conversion(page: Any) -> bool:
    """Whether decoding leaves YCbCr: decoders of JPEG give RGB, unless each channel is a JPEG of its own."""
    if photometric(page) != "YCBCR":
        return False
    return compression(page) not in _AS_RGB or not interleaved(page)


def subsampling(page: Any) -> tuple[int, int]:
    """Pixels across and down that share their colour, where the values are stored so and no decoder undoes it."""
    if not needs_conversion(page) or not interleaved(page) or compression(page) in _WAVELETS:
        return 1, 1
    across, down = page.tags["YCbCrSubSampling"].value if "YCbCrSubSampling" in page.tags else (2, 2)
    return int(across), int(down)


def from_ycbcr(values: NDArray[np.uint8], page: Any) -> NDArray[np.uint8]:
    """RGB of YCbCr with the file's coefficients and reference levels; uint8 (..., 3) both."""
    red, green, blue = _ratios(page, "YCbCrCoefficients", (0.299, 0.587, 0.114))
    levels = _ratios(page, "ReferenceBlackWhite", (0.0, 255.0, 128.0, 255.0, 128.0, 255.0))
    code = values.astype(np.float32)
    y, cb, cr = (
        (code[..., i] - levels[2 * i]) * (scale / ((levels[2 * i + 1] - levels[2 * i]) or 1.0))
        for i, scale in enumerate((255.0, 127.0, 127.0))
    )
    r = y + cr * (2 - 2 * red)
    b = y + cb * (2 - 2 * blue)
    g = (y - red * r - blue * b) / green
    rgb: NDArray[np.float32] = np.rint(np.stack([r, g, b], axis=-1))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def unpack_subsampled(data: bytes, width: int, height: int, across: int, down: int) -> NDArray[np.uint8]:
    """YCbCr uint8 (height, width, 3) of blocks that hold `across * down` brightnesses and one pair of colours.

    Raises:
        ValueError: too few bytes.
    """
    columns, rows = -(-width // across), -(-height // down)
    size = across * down + 2
    if len(data) < rows * columns * size:
        raise ValueError("the file ends within a tile")
    blocks = np.frombuffer(data, np.uint8, rows * columns * size).reshape(rows, columns, size)
    bright = blocks[..., :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    out = np.empty((rows * down, columns * across, 3), np.uint8)
    out[..., 0] = bright.reshape(rows * down, columns * across)
    out[..., 1:] = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return out[:height, :width]


def _ratios(page: Any, tag: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of a tag of fractions, which come as numerators and denominators in turn."""
    if tag not in page.tags:
        return default
    flat = np.asarray(page.tags[tag].value, dtype=np.float64).ravel()
    if len(flat) != 2 * len(default) or (flat[1::2] == 0).any():
        raise DataError(
            f"Expected {len(default)} fractions in the tag {tag}, found {flat.tolist()}; convert the image anew."
        )
    return tuple((flat[::2] / flat[1::2]).tolist())

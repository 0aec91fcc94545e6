"""Small pictures of the predicted sections, so that scanpy and squidpy draw a run's predictions over the tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.entry import EntryWriter
from ...datasets.hashing import canonical_hash
from ...datasets.images import Image, open_image
from ...datasets.readers.placement import PATCH_FILE, pitch
from ...datasets.registry import Dataset
from ...datasets.slides.kind import image_hash
from ...errors import DataError
from .result import CellResult, Picture

EDGE = 600  # pixels of the longer edge, at most; packed, a section takes about half a megabyte
STRIP = 512  # rows that are read at once
VERSION = 1  # of the making: raised when the same image would give another picture
FILLED = 0.5  # share of the pitch that a spot is drawn with where its diameter is not known


def add_pictures(result: CellResult, dataset: Dataset, cache: ArrayCache, images: bool) -> None:
    """Give each predicted section its spots' diameter and, where the protocol has images, its picture.

    A section whose image cannot be read goes without, and a warning of the result says so.
    """
    for each in result.sections:
        section = dataset.load(each.section.id)
        each.spot_diameter = section.spot_diameter
        image = section.image if images else None
        if image is None or image.suffix.lower() == PATCH_FILE:
            continue
        try:
            each.picture = small_picture(image, cache)
        except DataError as error:
            result.warnings.append(f"predictions.h5ad has no picture of section {each.section.id}: {error}")


def small_picture(path: Path, cache: ArrayCache) -> Picture:
    """An image of at most `EDGE` pixels a side, made once and kept in the cache.

    Raises:
        DataError: the image cannot be read.
    """

    def build(writer: EntryWriter) -> None:
        image = open_image(path)
        pixels = _shrunk(image)
        writer.store("pixels", pixels)
        writer.metadata = {"factor": image.size[0] / pixels.shape[1]}

    key = canonical_hash({"picture": VERSION, "edge": EDGE, "image": image_hash(path, cache.root)})
    entry = cache.get("pictures", key, build)
    return Picture(np.array(entry.arrays["pixels"]), float(entry.metadata["factor"]))


def _shrunk(image: Image) -> NDArray[np.uint8]:
    """RGB uint8 of at most `EDGE` pixels a side, from the smallest level that is larger, read strip by strip."""
    import PIL.Image

    level = max(i for i, size in enumerate(image.levels) if i == 0 or max(size) >= EDGE)
    width, height = image.levels[level]
    step = max(1, max(width, height) // EDGE)
    rows = step * max(1, STRIP // step)
    strips = []
    for y in range(0, height, rows):
        strip = image.read(0, y, width, min(rows, height - y), level)
        strips.append(np.asarray(PIL.Image.fromarray(np.ascontiguousarray(strip)).reduce(step)))
    small = PIL.Image.fromarray(np.concatenate(strips))
    small.thumbnail((EDGE, EDGE))
    return np.array(small)


def spatial_entry(
    picture: Picture | None, spot_diameter: float | None, pixel_xy: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """What `uns["spatial"]` holds of a section, in the form of scanpy and squidpy.

    Args:
        picture: the section's image made small, or None.
        spot_diameter: in pixels of the full-resolution image; half the spots' pitch where it is not known.
        pixel_xy: float64 (n, 2), centres of the spots in those pixels.
    """
    if spot_diameter is None:
        spot_diameter = FILLED * pitch(pixel_xy) if len(pixel_xy) > 1 else 1.0
    factors = {"spot_diameter_fullres": float(spot_diameter)}
    if picture is None:
        return {"images": {}, "scalefactors": factors}
    return {
        "images": {"hires": picture.pixels},
        "scalefactors": {"tissue_hires_scalef": 1 / picture.factor, **factors},
    }

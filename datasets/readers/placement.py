"""Do the coordinates belong to the image? Found out from their extent, before any patch is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..images import open_image
from ..section import Section

CORNER = 0.4  # spots that all lie within this share of both edges, from the corner, look like those of a smaller image
PATCH_FILE = ".h5"


def check_placement(section: Section, image: Path | None, checked: bool) -> tuple[str, ...]:
    """Hold the spots against the image's size; returns findings worth a note.

    Args:
        checked: the card states `pixel_scale`, so spots in a corner of a large slide are meant.

    Raises:
        DataError: an image without coordinates, coordinates that are not finite, spots outside the image, or all of
            them in
            its upper left corner as those of a smaller version would be.
    """
    if image is None or image.suffix.lower() == PATCH_FILE:
        return ()
    if section.pixel_xy is None:
        raise DataError(
            f"Section {section.id} has an image but no coordinates in pixels; add spot centres (obsm['spatial'], or "
            "columns x and y)."
        )
    if not np.isfinite(section.pixel_xy).all():
        raise DataError(
            f"Section {section.id}: expected finite coordinates of all spots, found some that are not; remove those "
            "spots."
        )
    size = np.array(open_image(image).size, dtype=np.float64)
    least, most = section.pixel_xy.min(axis=0), section.pixel_xy.max(axis=0)
    reach = most / size
    found = f"its spots reach to ({most[0]:.0f}, {most[1]:.0f}) in an image of {size[0]:.0f} x {size[1]:.0f} pixels"
    if least.min() < 0 or reach.max() > 1:
        raise DataError(
            f"Section {section.id}: expected coordinates in pixels of {image.name}, but {found}; give the "
            "full-resolution image, or "
            f"state the factor between the two in the card, for example 'pixel_scale: {_suggested(1 / reach.max())}'."
        )
    if reach.max() < CORNER and not checked:
        raise DataError(
            f"Section {section.id}: expected coordinates in pixels of {image.name}, but {found}, all in one corner, "
            "as those of a "
            "smaller version would; state the factor in the card, for example 'pixel_scale: "
            f"{_suggested(1 / reach.max())}', or "
            "'pixel_scale: 1' if they are right."
        )
    return ()


def pitch(pixel_xy: NDArray[np.float64]) -> float:
    """Median distance of a spot to its nearest neighbour, in the unit of the coordinates; needs two spots."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(pixel_xy).query(pixel_xy, k=2)
    return float(np.median(distances[:, 1]))


def _suggested(factor: float) -> str:
    return f"{factor:.3g}"

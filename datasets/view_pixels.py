"""The pixels of a section's views, read from its image as patches are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import patch_file
from .images import open_image
from .patches import patch_window, read_patches
from .section import Section
from .views import Views, ViewWindows, view_windows


def open_views(
    section: Section, views: Views, size: int, microns_per_pixel: float | None
) -> tuple[ViewWindows, Iterator[NDArray[np.uint8]]]:
    """Where the views of a section lie, and their pixels on demand: uint8 (size, size, 3) RGB, in the windows' order.

    Raises:
        DataError: no image, ready-made patches in its place, or an unknown scale.
    """
    if section.image is None or section.pixel_xy is None or section.image.suffix.lower() == patch_file.SUFFIX:
        raise DataError(
            f"Section {section.id}: expected the image that its patches are cut from, to see what lies around or inside "
            "them, found none; give the image or slide, or choose a method that reads patches alone."
        )
    image = open_image(section.image)
    windows = view_windows(views, section.pixel_xy, patch_window(section, size, microns_per_pixel), image.size)
    return windows, read_patches(image, windows.corners, windows.edge, size)

"""Cut the square patch of every spot out of a section's image, once, into the cache.

A window of w pixels around the centre (x, y) covers the columns rint(x) - w//2 ... rint(x) - w//2 + w - 1 (halves round
to even), rows likewise: ST-Net's rule (bryanhe/ST-Net). Windows that cross the border repeat the image's edge pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from . import patch_file
from .cache import ArrayCache
from .entry import EntryWriter
from .hashing import canonical_hash
from .images import Image, open_image
from .section import Section

PATCH_VERSION = 1  # raised when the same section would give other pixels
_REPORT_EVERY = 64
_TOGETHER = 16  # neighbours that one thread reads, so that no two decode the same tile
_AHEAD = 16  # such pieces that threads may have ready before they are taken

Progress = Callable[[str, int, int], None]


def patch_key(content: str, size: int, microns_per_pixel: float | None) -> str:
    """Name of a section's patches in the cache; `content` is that of its `SectionInfo` and `Section`."""
    if not content:
        raise ValueError("a section without a content hash cannot be cached")
    return canonical_hash(
        {"patches": PATCH_VERSION, "content": content, "size": size, "microns_per_pixel": microns_per_pixel}
    )


def open_patches(
    section: Section,
    size: int,
    microns_per_pixel: float | None,
    cache: ArrayCache,
    progress: Progress | None = None,
    checked: bool = True,
) -> tuple[NDArray[np.uint8], str]:
    """The patches of a section, RGB uint8 (n, size, size, 3), memory-mapped, and their key in the cache.

    With `microns_per_pixel` None a patch is `size` native pixels. Otherwise it is round(size * microns_per_pixel /
    native) native pixels, resized to `size`: the mean over each new pixel's area where it shrinks, bicubic where it
    grows. The entry's metadata hold the window, the number of padded patches and the microns per pixel that result.
    `checked` False leaves out the checksums of patches that are there, for who opens them without reading them.
    Memory: one decoded image and the patches' pages, which the system may write out.

    Raises:
        DataError: no image or coordinates, a damaged image, an unknown scale, or a spot centre outside the image.
    """
    key = patch_key(section.content, size, microns_per_pixel)
    build = partial(_cut, section=section, size=size, microns_per_pixel=microns_per_pixel, progress=progress)
    return cache.get("patches", key, build, checked).arrays["patches"], key


def read_patch(image: Image, x: int, y: int, window: int, size: int) -> NDArray[np.uint8]:
    """The window whose upper left pixel is (x, y), RGB uint8 (size, size, 3); it may cross the border of the image."""
    width, height = image.size
    crossing = x < 0 or y < 0 or x + window > width or y + window > height
    patch = _padded(image, x, y, window) if crossing else image.read(x, y, window, window)
    return resized(patch, size)


def read_patches(image: Image, corners: NDArray[np.int64], window: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """The windows whose upper left pixels are `corners` (n, 2), in order; several at once where the image allows it."""

    def read(some: list[list[int]]) -> list[NDArray[np.uint8]]:
        return [read_patch(image, x, y, window, size) for x, y in some]

    pieces = [corners[start : start + _TOGETHER].tolist() for start in range(0, len(corners), _TOGETHER)]
    if not image.parallel:
        for piece in pieces:
            yield from read(piece)
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(pieces), _AHEAD):
            for patches in pool.map(read, pieces[start : start + _AHEAD]):
                yield from patches


def _cut(
    writer: EntryWriter, section: Section, size: int, microns_per_pixel: float | None, progress: Progress | None
) -> None:
    if section.image is None or section.pixel_xy is None:
        lacking = "image" if section.image is None else "pixel coordinates"
        raise DataError(f"Section {section.id} has no {lacking} to cut patches from; leave it out or use --no-images.")
    window = patch_window(section, size, microns_per_pixel)
    if section.image.suffix.lower() == patch_file.SUFFIX:
        _copy(writer, section, section.image, size, window)
        return
    image = open_image(section.image)
    _check_inside(section, section.pixel_xy, image)
    corner = np.rint(section.pixel_xy).astype(np.int64) - window // 2
    crossing = np.any((corner < 0) | (corner + window > np.array(image.size)), axis=1)
    patches = writer.array("patches", (section.n_spots, size, size, 3), np.uint8)
    for i, patch in enumerate(read_patches(image, corner, window, size)):
        patches[i] = patch
        if progress is not None and ((i + 1) % _REPORT_EVERY == 0 or i + 1 == section.n_spots):
            progress(f"patches of {section.id}", i + 1, section.n_spots)
    native = section.microns_per_pixel
    writer.metadata = {
        "section": section.id,
        "window": window,
        "padded": int(crossing.sum()),
        "microns_per_pixel": None if native is None else native * window / size,
    }


def _copy(writer: EntryWriter, section: Section, path: Path, size: int, window: int) -> None:
    """Ready-made patches, which cannot be resampled: the window that they lack would be needed."""
    if window != size:
        raise DataError(
            f"Section {section.id} comes as patches at {section.microns_per_pixel:g} microns per pixel, which cannot "
            "be cut anew; leave out --microns-per-pixel, or give the slide."
        )
    patch_file.fill_patches(writer.array("patches", (section.n_spots, size, size, 3), np.uint8), section, path)
    writer.metadata = {
        "section": section.id,
        "window": window,
        "padded": 0,
        "microns_per_pixel": section.microns_per_pixel,
    }


def patch_window(section: Section, size: int, microns_per_pixel: float | None) -> int:
    """Edge of a patch in native pixels of the section's image.

    Raises:
        DataError: patches of a given scale in an image of unknown scale.
    """
    if microns_per_pixel is None:
        return size
    if section.microns_per_pixel is None:
        raise DataError(
            f"Section {section.id}: expected its microns per pixel, to cut patches at {microns_per_pixel:g}, but they "
            "are unknown; state them or take native pixels."
        )
    return max(1, round(size * microns_per_pixel / section.microns_per_pixel))


def _check_inside(section: Section, pixel_xy: NDArray[np.float64], image: Image) -> None:
    width, height = image.size
    outside = np.flatnonzero(~((pixel_xy >= 0) & (pixel_xy <= (width, height))).all(axis=1))
    if len(outside):
        first = outside[0]
        raise DataError(
            f"Section {section.id}: spot {section.spots[first]} at pixel ({pixel_xy[first, 0]:.0f}, "
            f"{pixel_xy[first, 1]:.0f}) lies outside its image of {width} x {height} pixels ({len(outside)} of "
            f"{section.n_spots} spots do); give the full-resolution image that the coordinates refer to."
        )


def _padded(image: Image, x: int, y: int, window: int) -> NDArray[np.uint8]:
    # The pixel of the image that is nearest to each of the window's, which may lie wholly outside (a part of a patch).
    columns, rows = (np.arange(at, at + window).clip(0, edge - 1) for at, edge in zip((x, y), image.size, strict=True))
    left, top = columns[0], rows[0]
    inside = image.read(int(left), int(top), int(columns[-1] - left + 1), int(rows[-1] - top + 1))
    return inside[np.ix_(rows - top, columns - left)]


def resized(patch: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square at another size: the mean over each new pixel's area where it shrinks, bicubic where it grows."""
    import PIL.Image

    if len(patch) == size:
        return patch
    how = PIL.Image.Resampling.BOX if len(patch) > size else PIL.Image.Resampling.BICUBIC
    return np.asarray(PIL.Image.fromarray(np.ascontiguousarray(patch)).resize((size, size), how))

"""The files of a SpatialData store: what a section is hashed by, its image as a TIFF, and where shapes lie on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError, DataError
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..entry import EntryWriter
from ..hashing import canonical_hash, file_sha256

ENDING = ".zarr"
VERSION = 1  # of the image as it is written
TILE = 512
_SMALL = ("hires", "lowres")  # Space Ranger's small images
_PARTS = {"images", "labels", "points", "shapes", "tables", "table"}


def is_store(path: Path) -> bool:
    """Whether a folder is a SpatialData store."""
    return path.suffix == ENDING and path.is_dir() and any((path / part).is_dir() for part in _PARTS)


def read_store(path: Path) -> Any:
    """The store, its images and points not yet read.

    Raises:
        ConfigurationError: spatialdata is not installed.
        DataError: it cannot be read.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise ConfigurationError(
            f"{path} is a SpatialData store, which needs the package spatialdata; install it with: "
            "pip install 'qbench-spatial[spatialdata]'."
        ) from error
    try:
        return spatialdata.read_zarr(path)
    except Exception as error:  # whatever zarr, dask and spatialdata meet in a stranger's store
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DataError(f"Expected a SpatialData store in {path}, but: {reason}; write it anew.") from error


def table_files(path: Path) -> tuple[Path, ...]:
    """All files of a store but the pixels of images and labels; the folder itself where it is not there."""
    if not path.is_dir():
        return (path,)
    images = {file for part in ("images", "labels") for file in (path / part).rglob("*")}
    about = {file for file in images if file.name in ("zarr.json", ".zattrs", ".zgroup", ".zarray")}
    return tuple(sorted(file for file in path.rglob("*") if file.is_file() and (file not in images or file in about)))


def full_image(store: Any, sample: str) -> str | None:
    """Name of the colour image of a sample in full resolution, or None."""
    found = []
    for name, image in store.images.items():
        pixels = _pixels(image)
        if pixels.sizes["c"] == 3 and not any(small in name for small in _SMALL):
            found.append((name.startswith(sample), "full" in name, pixels.sizes["y"] * pixels.sizes["x"], name))
    return max(found)[-1] if found else None


def image_of(entry: SectionEntry, base: Path, cache: ArrayCache) -> Path | None:
    """The image that the card names: a file, or an element of a store, which the cache keeps as a TIFF.

    Raises:
        DataError: an element that is not there, or not of 8 bits.
    """
    if entry.image is None:
        return None
    path = base / entry.image
    if path.parent.name != "images" or path.parent.parent.suffix != ENDING or not path.is_dir():
        return path
    files = sorted(file for file in path.rglob("*") if file.is_file())
    stated = [[file.relative_to(path).as_posix(), file_sha256(file, cache.root)] for file in files]

    def build(writer: EntryWriter) -> None:
        _write(_pixels(read_store(path.parent.parent).images[path.name]), writer.folder / "image.tif", path)

    return cache.get("images", canonical_hash({"version": VERSION, "files": stated}), build).folder / "image.tif"


def to_pixels(store: Any, element: Any, entry: SectionEntry) -> NDArray[np.float64]:
    """Affine matrix (3, 3) from an element's own x, y to pixels of the section's image in the store; without one as it is.

    Raises:
        DataError: no coordinate system has both.
    """
    from spatialdata.transformations import get_transformation

    name = Path(entry.image).name if entry.image is not None and f"{ENDING}/images/" in entry.image else None
    if name is None:
        return np.eye(3)
    ours, images = (get_transformation(one, get_all=True) for one in (element, store.images[name]))
    shared = sorted(set(ours) & set(images))
    if not shared:
        raise DataError(
            f"Section {entry.id}: expected spots and image {name} in one coordinate system, found {', '.join(ours)} and "
            f"{', '.join(images)}; align them with spatialdata."
        )
    ours_to, image_to = (one[shared[0]].to_affine_matrix(("x", "y"), ("x", "y")) for one in (ours, images))
    return np.asarray(np.linalg.inv(image_to) @ ours_to, dtype=np.float64)


def _pixels(image: Any) -> Any:
    """The full resolution of an image, dimensions c, y, x."""
    from spatialdata import get_pyramid_levels

    return image if hasattr(image, "sizes") and "c" in image.sizes else get_pyramid_levels(image, n=0)


def _write(pixels: Any, to: Path, path: Path) -> None:
    import tifffile

    if pixels.dtype != np.uint8 or pixels.sizes["c"] != 3:
        raise DataError(
            f"Expected an 8-bit RGB image in {path}, found {pixels.sizes['c']} channels of {pixels.dtype}; convert it."
        )
    pixels = pixels.transpose("y", "x", "c")
    shape = tuple(pixels.sizes[name] for name in ("y", "x", "c"))
    tifffile.imwrite(
        to, _tiles(pixels), shape=shape, dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib",
        software=False, metadata=None, bigtiff=shape[0] * shape[1] > 1 << 29,
    )  # fmt: skip


def _tiles(pixels: Any) -> Iterator[NDArray[np.uint8]]:
    """Tiles in the order of a TIFF, those at the edges filled up; a row of them in memory at a time."""
    height, width = pixels.sizes["y"], pixels.sizes["x"]
    for y in range(0, height, TILE):
        strip = np.asarray(pixels.isel(y=slice(y, y + TILE)))
        for x in range(0, width, TILE):
            part = strip[:, x : x + TILE]
            yield np.pad(part, ((0, TILE - part.shape[0]), (0, TILE - part.shape[1]), (0, 0)))

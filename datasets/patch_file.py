"""Patches that come ready-made in an HDF5 file, as HEST-1k gives them: `img` (n, 224, 224, 3), `barcode` (n, 1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..hdf5_files import open_hdf5
from .section import Section

SUFFIX = ".h5"
BLOCK = 256  # patches that are read at once
PATCH_MICRONS = 0.5  # microns per pixel of HEST-1k's patches, stated by its authors
_WHAT, _AGAIN = "HEST patches", "fetch the file again"


def patch_barcodes(path: Path) -> tuple[str, ...]:
    """The barcodes of the patches, in their order.

    Raises:
        DataError: no HDF5 file of patches.
    """
    with open_hdf5(path, _WHAT, _AGAIN) as file:
        if "img" not in file or "barcode" not in file:
            raise DataError(
                f"Expected datasets img and barcode in {path}, found {', '.join(file) or 'none'}; give HEST's patch file."
            )
        values = np.asarray(file["barcode"]).ravel()
        if len(file["img"].shape) != 4 or len(file["img"]) != len(values):
            raise ValueError(f"img is {file['img'].shape}, of {len(values)} barcodes")
        return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values)


def fill_patches(out: NDArray[np.uint8], section: Section, path: Path) -> None:
    """Copy the patches of a section's spots, in their order, into `out`, uint8 (n, size, size, 3).

    Raises:
        DataError: patches of another size, or spots without one.
    """
    place = {barcode: i for i, barcode in enumerate(patch_barcodes(path))}
    lost = [spot for spot in section.spots if spot not in place]
    if lost:
        raise DataError(
            f"Section {section.id}: {len(lost)} spots have no patch in {path} ({lost[0]}, ...); give the patches of this sample."
        )
    rows = np.array([place[spot] for spot in section.spots])
    order = np.argsort(rows)  # HDF5 reads in the order of the file
    with open_hdf5(path, _WHAT, _AGAIN) as file:
        found = file["img"]
        if found.shape[1:] != out.shape[1:] or found.dtype != np.uint8:
            raise DataError(
                f"Expected patches of {out.shape[1:]} and 8 bits in {path}, found {found.shape[1:]} of {found.dtype}; "
                "give HEST's patch file."
            )
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            out[part] = found[rows[part]]


def read_all_patches(path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Read every patch once and keep none, to see whether the file is sound; `progress` hears (done, total).

    Raises:
        DataError: a damaged or truncated file.
    """
    patch_barcodes(path)
    with open_hdf5(path, _WHAT, _AGAIN) as file:
        found = file["img"]
        for start in range(0, len(found), BLOCK):
            found[start : start + BLOCK]
            if progress is not None:
                progress(min(start + BLOCK, len(found)), len(found))

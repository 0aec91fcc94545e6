"""10x Visium and Visium HD: what Space Ranger writes, as a folder `outs` or as downloads and mirrors name its files.

    filtered_feature_bc_matrix.h5   (or its folder of matrix.mtx, features.tsv, barcodes.tsv; or the raw matrix)
    spatial/tissue_positions.csv    (tissue_positions_list.csv, without header, before Space Ranger 2; parquet in Visium HD)
    spatial/scalefactors_json.json  spatial/tissue_hires_image.png   (hold the full-resolution image to their size)

The full-resolution image is not part of it: the card names it. A section of Visium HD is one of its folders of bins.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, reading
from ...files import unpacked_bytes
from ...names import UNNAMED
from ...text_files import read_json
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..images import open_image
from ..lattice import lattice
from ..registry import Dataset, DatasetCard
from ..scale import bin_microns, statements
from ..section import Section
from .genes import add_up_duplicates
from .listed import Reader, left_out, open_listed, stated_image
from .placement import check_positions
from .spot_positions import read_positions
from .tenx_matrix import read_matrix
from .visium_files import VisiumFiles, find_files

VERSION = 4
SPOT_MICRONS = 55.0  # stated by 10x
AGREE = 0.02  # the full-resolution image may differ by this share from what the small one and its factor say


def open_visium(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the Space Ranger folders that a card lists; errors as in `open_listed`."""
    reader = Reader(
        {"visium": VERSION}, lambda entry, base: find_files(base / entry.file).tables, read_visium, stated_image
    )
    return open_listed(card, data_dir, cache, reader)


def read_visium(entry: SectionEntry, base: Path) -> Section:
    """A section from Space Ranger's files: its spots under tissue, genes of type Gene Expression, by symbol.

    Raises:
        DataError: a damaged or foreign file, barcodes without a position, none under tissue, or an image of another
            resolution.
    """
    where = f"Section {entry.id}"
    files = find_files(base / entry.file)
    matrix = read_matrix(files.matrix, where)
    rows, positions = read_positions(files.positions)
    lost = [name for name in matrix.barcodes if name not in rows]
    if lost:
        raise DataError(
            f"{where}: {len(lost)} of {len(matrix.barcodes)} barcodes have no position in {files.positions} ({lost[0]}, "
            "...); the matrix and the spatial folder must be of one run."
        )
    # The array is measured on all of its spots, also those without tissue: few may be left under it.
    factors = _factors(files, where)
    square = True if "bin_size_um" in factors else None
    array = lattice(positions[:, 2], positions[:, 1], positions[:, [4, 3]], square)
    scales = statements(array, factors, where)
    table = positions[[rows[name] for name in matrix.barcodes]]
    kept = np.flatnonzero(table[:, 0] != 0)
    if not len(kept):
        raise DataError(
            f"{where}: expected spots under tissue, but none of {len(table)} in {files.matrix[0]} has in_tissue = 1 in "
            f"{files.positions}; was the tissue found?"
        )
    table, spots = table[kept], tuple(matrix.barcodes[i] for i in kept)
    check_positions(where, spots, table, f"position in {files.positions}")
    counts, genes, notes = add_up_duplicates(matrix.counts[kept], matrix.genes)
    _check_resolution(files, factors, None if entry.image is None else base / entry.image, where)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=genes,
        spots=spots,
        array_xy=lattice(table[:, 2], table[:, 1], None, not array.hexagonal).xy,
        pixel_xy=table[:, [4, 3]],
        spot_diameter=(bin_microns(factors, where) or SPOT_MICRONS) / scales[0].microns if scales else None,
        scales=scales,
        notes=(*notes, *left_out(len(matrix.barcodes) - len(kept))),
    )


def _factors(files: VisiumFiles, where: str) -> dict[str, Any]:
    """The scale factors of Space Ranger; none where the file is not there."""
    path = files.factors
    if path is None:
        return {}
    found = read_json(path, f"scale factors of {where[0].lower()}{where[1:]}", "copy the file again")
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected scale factors by name in {path}, found none; copy the file again.")
    return found


def _check_resolution(files: VisiumFiles, factors: dict[str, Any], image: Path | None, where: str) -> None:
    """Hold the image's size against that of Space Ranger's small one divided by its factor."""
    if image is None or files.small is None or not factors:
        return
    try:
        factor = float(factors["tissue_hires_scalef"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: expected tissue_hires_scalef in {files.factors}, but {error}; copy the file again."
        ) from error
    found: NDArray[np.float64] = np.array(open_image(image).size, dtype=np.float64)
    due = np.array(_size(files.small)) / factor
    if (np.abs(found / due - 1) > AGREE).any():
        raise DataError(
            f"{where}: expected an image of about {due[0]:.0f} x {due[1]:.0f} pixels, as Space Ranger read it, found "
            f"{found[0]:.0f} x {found[1]:.0f} in {image}; give the image that was passed to 'spaceranger --image'."
        )


def _size(path: Path) -> tuple[int, int]:
    """Width and height of Space Ranger's small image, gzipped or not.

    Raises:
        DataError: it cannot be read.
    """
    import PIL.Image

    with (
        reading("Space Ranger's small image", path, "copy the file again"),
        PIL.Image.open(io.BytesIO(unpacked_bytes(path)), formats=["PNG", "JPEG"]) as image,
    ):
        return image.size

"""10x Visium: the folder `outs` of Space Ranger.

    filtered_feature_bc_matrix.h5   (or the folder of matrix.mtx.gz, features.tsv.gz and barcodes.tsv.gz)
    spatial/tissue_positions.csv    (tissue_positions_list.csv, without header, before Space Ranger 2)
    spatial/scalefactors_json.json  spatial/tissue_hires_image.png   (hold the full-resolution image to their size)

The full-resolution image is not part of it: the card names it.
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..images import open_image
from ..registry import Dataset, DatasetCard
from ..scale import bin_microns, lattice, statements
from ..section import Section, whole_counts
from .genes import add_up_duplicates
from .listed import Reader, open_listed, stated_image

VERSION = 2
SPOT_MICRONS = 55.0  # stated by 10x
AGREE = 0.02  # the full-resolution image may differ by this share from what the small one and its factor say
_POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv")
_COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def open_visium(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the Space Ranger folders that a card lists; errors as in `open_listed`."""
    return open_listed(card, data_dir, cache, Reader({"visium": VERSION}, _tables, read_visium, stated_image))


def read_visium(entry: SectionEntry, base: Path) -> Section:
    """A section from a Space Ranger folder: its spots under tissue, genes of type Gene Expression, by symbol.

    Raises:
        DataError: a damaged or foreign file, barcodes without a position, or an image of another resolution.
    """
    where = f"Section {entry.id}"
    folder = base / entry.file
    matrix = folder / "filtered_feature_bc_matrix.h5"
    counts, genes, barcodes = _read_h5(matrix, where) if matrix.is_file() else _read_mtx(matrix.with_suffix(""), where)
    positions = _read_positions(_positions(folder))
    lost = [name for name in barcodes if name not in positions]
    if lost:
        raise DataError(
            f"{where}: {len(lost)} of {len(barcodes)} barcodes have no position in {_positions(folder)} ({lost[0]}, "
            "...); the matrix and "
            "the spatial folder must be of one run."
        )
    # The array is measured on all of its spots, also those without tissue: few may be left under it.
    every = np.array(list(positions.values()), dtype=np.float64)
    factors = _factors(folder, where)
    square = True if "bin_size_um" in factors else None
    array = lattice(every[:, 2], every[:, 1], every[:, [4, 3]], square)
    scales = statements(array, factors, where)
    table = np.array([positions[name] for name in barcodes], dtype=np.float64)
    kept = np.flatnonzero(table[:, 0] == 1)
    table = table[kept]
    counts, genes, notes = add_up_duplicates(counts[kept], genes)
    pixel_xy = table[:, [4, 3]]
    _check_resolution(folder, factors, None if entry.image is None else base / entry.image, where)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=genes,
        spots=tuple(barcodes[i] for i in kept),
        array_xy=lattice(table[:, 2], table[:, 1], None, not array.hexagonal).xy,
        pixel_xy=pixel_xy,
        spot_diameter=(bin_microns(factors, where) or SPOT_MICRONS) / scales[0].microns if scales else None,
        scales=scales,
        notes=notes,
    )


def _tables(entry: SectionEntry, base: Path) -> tuple[Path, ...]:
    folder = base / entry.file
    matrix = folder / "filtered_feature_bc_matrix.h5"
    parts = (
        (matrix,)
        if matrix.is_file()
        else tuple(matrix.with_suffix("") / name for name in ("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"))
    )
    factors = folder / "spatial" / "scalefactors_json.json"
    return (*parts, _positions(folder), *((factors,) if factors.is_file() else ()))


def _positions(folder: Path) -> Path:
    paths = [folder / "spatial" / name for name in _POSITIONS]
    return next((path for path in paths if path.is_file()), paths[0])


def _read_h5(path: Path, where: str) -> tuple[sparse.csr_matrix, tuple[str, ...], tuple[str, ...]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            matrix = file["matrix"]
            n_genes, n_spots = (int(n) for n in matrix["shape"][:])
            values = tuple(matrix[name][:] for name in ("data", "indices", "indptr"))
            features = matrix["features"]
            kinds = (
                [kind.decode() for kind in features["feature_type"][:]]
                if "feature_type" in features
                else ["Gene Expression"] * n_genes
            )
            names = [name.decode() for name in features["name"][:]]
            barcodes = tuple(name.decode() for name in matrix["barcodes"][:])
    except (OSError, KeyError) as error:
        raise DataError(
            f"{where}: expected Space Ranger's matrix in {path}, but {error}; copy the file again."
        ) from error
    # Genes x barcodes by columns is barcodes x genes by rows, with the same three arrays.
    counts = whole_counts(sparse.csr_matrix(values, shape=(n_spots, n_genes)), where)
    return _expression(counts, names, kinds), _of_kind(names, kinds), barcodes


def _read_mtx(folder: Path, where: str) -> tuple[sparse.csr_matrix, tuple[str, ...], tuple[str, ...]]:
    from scipy.io import mmread

    try:
        counts = whole_counts(sparse.csr_matrix(mmread(folder / "matrix.mtx.gz")).T, where)
        with gzip.open(folder / "features.tsv.gz", "rt", encoding="utf-8") as file:
            rows = [line.rstrip("\n").split("\t") for line in file]
        with gzip.open(folder / "barcodes.tsv.gz", "rt", encoding="utf-8") as file:
            barcodes = tuple(line.rstrip("\n") for line in file)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{where}: expected Space Ranger's matrix in {folder}, but {error}; copy the folder again."
        ) from error
    names = [row[1] if len(row) > 1 else row[0] for row in rows]
    kinds = [row[2] if len(row) > 2 else "Gene Expression" for row in rows]
    if counts.shape != (len(barcodes), len(names)):
        raise DataError(
            f"{where}: expected {len(barcodes)} barcodes and {len(names)} genes in {folder}, found a matrix of "
            f"{counts.shape}."
        )
    return _expression(counts, names, kinds), _of_kind(names, kinds), barcodes


def _expression(counts: sparse.csr_matrix, names: list[str], kinds: list[str]) -> sparse.csr_matrix:
    """The columns that are genes: antibodies and other features are left out."""
    return (
        counts
        if len(_of_kind(names, kinds)) == len(names)
        else counts[:, [i for i, kind in enumerate(kinds) if kind == "Gene Expression"]]
    )


def _of_kind(names: list[str], kinds: list[str]) -> tuple[str, ...]:
    return tuple(name for name, kind in zip(names, kinds, strict=True) if kind == "Gene Expression")


def _read_positions(path: Path) -> dict[str, tuple[float, ...]]:
    """in_tissue, array row, array column, pixel row, pixel column of each barcode."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
        if rows and rows[0][0] == "barcode":
            order = [rows[0].index(name) for name in _COLUMNS]
            rows = [[row[i] for i in order] for row in rows[1:]]
        return {row[0]: tuple(float(cell) for cell in row[1:6]) for row in rows}
    except (OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        raise DataError(
            f"Expected the columns {', '.join(_COLUMNS)} in {path}, but {error}; copy the file again."
        ) from error


def _factors(folder: Path, where: str) -> dict[str, Any]:
    """The scale factors of Space Ranger; none where the file is not there."""
    path = folder / "spatial" / "scalefactors_json.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: expected scale factors in {path}, but {error}; copy the file again.") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected scale factors by name in {path}, found none; copy the file again.")
    return found


def _check_resolution(folder: Path, factors: dict[str, Any], image: Path | None, where: str) -> None:
    """Hold the image's size against that of Space Ranger's small one divided by its factor."""
    small = folder / "spatial" / "tissue_hires_image.png"
    if image is None or not small.is_file() or not factors:
        return
    try:
        factor = float(factors["tissue_hires_scalef"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: expected tissue_hires_scalef among the scale factors of {folder}, but {error}; copy the file again."
        ) from error
    found: NDArray[np.float64] = np.array(open_image(image).size, dtype=np.float64)
    due = np.array(open_image(small).size) / factor
    if (np.abs(found / due - 1) > AGREE).any():
        raise DataError(
            f"{where}: expected an image of about {due[0]:.0f} x {due[1]:.0f} pixels, as Space Ranger read it, found "
            f"{found[0]:.0f} x {found[1]:.0f} in {image}; give the image that was passed to 'spaceranger --image'."
        )

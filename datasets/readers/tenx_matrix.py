"""Counts as 10x writes them: the HDF5 matrix, or matrix.mtx with features and barcodes, gzipped or not."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from ...errors import DataError, reading
from ...files import unpacked_bytes
from ...hdf5_files import open_hdf5
from ...text_files import read_text
from ..section import whole_counts

_EXPRESSION = "Gene Expression"
_WHAT, _AGAIN = "Space Ranger's matrix", "copy the file again"


@dataclass(frozen=True)
class Matrix:
    """Counts of genes, CSR int32 (barcodes, genes): antibodies and other features are left out."""

    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    barcodes: tuple[str, ...]


def read_matrix(parts: tuple[Path, ...], where: str) -> Matrix:
    """The counts of the HDF5 file, or of the three files of matrix, features and barcodes.

    Raises:
        DataError: a damaged or foreign file, or values that are not counts.
    """
    try:
        counts, names, kinds, barcodes = _read_h5(parts[0], where) if len(parts) == 1 else _read_mtx(parts, where)
    except DataError as error:
        told = str(error)
        raise DataError(told if told.startswith(where) else f"{where}: e{told.removeprefix('E')}") from error
    if counts.shape != (len(barcodes), len(names)):
        raise DataError(
            f"{where}: expected {len(barcodes)} barcodes and {len(names)} genes in {parts[0]}, found a matrix of "
            f"{counts.shape}; copy the files again."
        )
    genes = np.flatnonzero([kind == _EXPRESSION for kind in kinds])
    if len(genes) == len(names):
        return Matrix(counts, tuple(names), tuple(barcodes))
    return Matrix(counts[:, genes], tuple(names[i] for i in genes), tuple(barcodes))


def _read_h5(path: Path, where: str) -> tuple[sparse.csr_matrix, list[str], list[str], list[str]]:
    with open_hdf5(path, _WHAT, _AGAIN) as file:
        if "matrix" not in file:
            raise KeyError(f"it has no group 'matrix' (its groups are {', '.join(file) or 'none'})")
        matrix = file["matrix"]
        n_genes, n_spots = (int(n) for n in matrix["shape"][:])
        values = tuple(matrix[name][:] for name in ("data", "indices", "indptr"))
        features = matrix["features"]
        kinds = _texts(features["feature_type"]) if "feature_type" in features else [_EXPRESSION] * n_genes
        names, barcodes = _texts(features["name"]), _texts(matrix["barcodes"])
        # Genes x barcodes by columns is barcodes x genes by rows, with the same three arrays.
        return whole_counts(sparse.csr_matrix(values, shape=(n_spots, n_genes)), where), names, kinds, barcodes


def _read_mtx(parts: tuple[Path, ...], where: str) -> tuple[sparse.csr_matrix, list[str], list[str], list[str]]:
    from scipy.io import mmread

    matrix, features, barcodes = parts
    rows = [line.split("\t") for line in read_text(features, _WHAT, _AGAIN).splitlines()]
    names = [row[1] if len(row) > 1 else row[0] for row in rows]
    kinds = [row[2] if len(row) > 2 else _EXPRESSION for row in rows]
    spots = [line.split("\t")[0] for line in read_text(barcodes, _WHAT, _AGAIN).splitlines()]
    with reading(_WHAT, matrix, _AGAIN):
        data = unpacked_bytes(matrix)
        _check_stated(data, len(names), len(spots))
        return whole_counts(sparse.csr_matrix(mmread(io.BytesIO(data))).T, where), names, kinds, spots


def _check_stated(data: bytes, n_genes: int, n_spots: int) -> None:
    """Hold the sizes that the head of a matrix states against what there is, before room for them is taken."""
    head = next((line for line in io.BytesIO(data) if not line.startswith(b"%") and line.strip()), b"")
    stated = [int(word) for word in head.split()]
    if stated[:2] != [n_genes, n_spots]:
        raise ValueError(f"it states {stated[:2]} genes and barcodes, their files have {[n_genes, n_spots]}")
    if len(stated) == 3 and 2 * stated[2] > len(data):
        raise ValueError(f"it states {stated[2]:,} values, more than its {len(data):,} bytes hold")


def _texts(dataset: object) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in np.asarray(dataset)]

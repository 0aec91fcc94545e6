"""Counts as 10x writes them: the HDF5 matrix, or matrix.mtx with features and barcodes, gzipped or not."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from ...errors import DataError
from ..section import whole_counts

_EXPRESSION = "Gene Expression"


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
    except (OSError, KeyError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{where}: expected Space Ranger's matrix in {parts[0]}, but {error}; copy the file again."
        ) from error
    if counts.shape != (len(barcodes), len(names)):
        raise DataError(
            f"{where}: expected {len(barcodes)} barcodes and {len(names)} genes in {parts[0]}, found a matrix of "
            f"{counts.shape}."
        )
    genes = np.flatnonzero([kind == _EXPRESSION for kind in kinds])
    if len(genes) == len(names):
        return Matrix(counts, tuple(names), tuple(barcodes))
    return Matrix(counts[:, genes], tuple(names[i] for i in genes), tuple(barcodes))


def _read_h5(path: Path, where: str) -> tuple[sparse.csr_matrix, list[str], list[str], list[str]]:
    import h5py

    with h5py.File(path, "r") as file:
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
    with _opened(matrix) as file:
        counts = whole_counts(sparse.csr_matrix(mmread(file)).T, where)
    rows = [line.split("\t") for line in _lines(features)]
    names = [row[1] if len(row) > 1 else row[0] for row in rows]
    kinds = [row[2] if len(row) > 2 else _EXPRESSION for row in rows]
    return counts, names, kinds, [line.split("\t")[0] for line in _lines(barcodes)]


def _texts(dataset: object) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in np.asarray(dataset)]


def _opened(path: Path) -> gzip.GzipFile:
    """A file's bytes, unpacked where they are gzipped, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


def _lines(path: Path) -> list[str]:
    with _opened(path) as file:
        return file.read().decode("utf-8-sig").splitlines()

"""The tables of a section as arrays of a cache entry: counts as the parts of a CSR matrix, names joined by line ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .entry import EntryWriter

if TYPE_CHECKING:
    from scipy import sparse

_PARTS = ("data", "indices", "indptr")


def store_counts(writer: EntryWriter, counts: sparse.csr_matrix) -> None:
    """Keep a canonical CSR matrix of counts, int32 (spots, genes)."""
    for name in _PARTS:
        writer.store(name, getattr(counts, name).astype(np.int32, copy=False))


def stored_counts(arrays: Mapping[str, NDArray[Any]], n_spots: int, n_genes: int) -> sparse.csr_matrix:
    """The matrix that `store_counts` kept, CSR int32 (spots, genes), over the arrays as they lie."""
    from scipy import sparse

    parts = tuple(np.asarray(arrays[name]) for name in _PARTS)
    counts = sparse.csr_matrix(parts, shape=(n_spots, n_genes), copy=False)
    counts.has_canonical_format = True  # as stored, so scipy need not look, nor sort read-only arrays
    return counts


def joined(names: Sequence[str]) -> NDArray[np.uint8]:
    """Names as one array of bytes."""
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def parted(names: NDArray[np.uint8]) -> tuple[str, ...]:
    """The names that `joined` made one array of."""
    return tuple(names.tobytes().decode().split("\n"))

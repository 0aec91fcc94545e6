"""The tables of a section as arrays of a cache entry: counts as the parts of a CSR matrix, names joined by line ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .entry import Entry, EntryWriter
from .registry import SectionInfo
from .scale import Stated
from .section import Section

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


def stored_section(
    info: SectionInfo,
    entry: Entry,
    *,
    microns_per_pixel: float | None,
    scales: tuple[Stated, ...],
    spot_diameter: float | None,
) -> Section:
    """The section that a cache entry holds.

    Args:
        info: name, patient, image and content of the section.
        entry: counts, names, places, labels and notes.
        microns_per_pixel: of the image, as its reader took it.
        scales: what was stated of it.
        spot_diameter: in pixels of the image.
    """
    arrays = entry.arrays
    spots, genes = parted(arrays["spots"]), parted(arrays["genes"])
    return Section(
        id=info.id,
        patient=info.patient,
        counts=stored_counts(arrays, len(spots), len(genes)),
        genes=genes,
        spots=spots,
        array_xy=arrays["array_xy"],
        pixel_xy=arrays.get("pixel_xy"),
        image=info.image,
        microns_per_pixel=microns_per_pixel,
        scales=scales,
        spot_diameter=spot_diameter,
        labels=parted(arrays["labels"]) if "labels" in arrays else None,
        content=info.content,
        notes=tuple(entry.metadata["notes"]),
    )


def joined(names: Sequence[str]) -> NDArray[np.uint8]:
    """Names as one array of bytes."""
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def parted(names: NDArray[np.uint8]) -> tuple[str, ...]:
    """The names that `joined` made one array of."""
    return tuple(names.tobytes().decode().split("\n"))

"""What a section's spots are, whatever file they come from: one hash of the parsed section, and one of each spot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .cache import ArrayCache
from .entry import EntryWriter
from .hashing import canonical_hash, file_sha256
from .readers.genes import are_ensembl
from .registry import Dataset
from .section import Section

VERSION = 1  # raised when the hashes of the same section would be others
STORED = 2  # raised when what is kept of them moves
LEAST_UMI = 20  # spots below hold so few counts that two of them may agree by chance: they are not compared
_ROWS = 4096  # hashed at a time, so that memory stays small


@dataclass(frozen=True)
class SectionSpots:
    """What a section's spots are.

    Attributes:
        content: sha256 (hex) of the parsed section: spots and genes in order, counts, array and pixel coordinates,
            labels, microns per pixel, spot diameter, and the sha256 of its image. Not its name, its patient, or how its
            files are written.
        hashes: uint64 (n,), of each spot's non-zero (gene symbol, count) pairs, in any order.
        library_size: int64 (n,), total UMI of each spot over all genes.
        ensembl: whether the section names its genes by Ensembl id, not by symbol.
    """

    content: str
    hashes: NDArray[np.uint64]
    library_size: NDArray[np.int64]
    ensembl: bool

    @property
    def compared(self) -> NDArray[np.bool_]:
        """Which spots hold enough counts to be told apart, bool (n,)."""
        return self.library_size >= LEAST_UMI


def section_spots(dataset: Dataset, section_id: str, cache: ArrayCache) -> SectionSpots:
    """What the spots of a section are; computed once for the files that it comes from.

    Raises:
        ConfigurationError: an unknown section.
        DataError: damaged tables, or an image that cannot be read.
    """
    info = dataset.info(section_id)

    def build(entry: EntryWriter) -> None:
        section = dataset.load(section_id)
        image = None if section.image is None else file_sha256(section.image, cache.root)
        entry.metadata |= {"content": content_hash(section, image), "ensembl": are_ensembl(section.genes)}
        entry.store("hashes", spot_hashes(section.counts, section.genes))
        entry.store("library_size", section.library_size)

    stored = cache.get("spots", canonical_hash({"version": [VERSION, STORED], "files": info.content}), build)
    found, arrays = stored.metadata, stored.arrays
    return SectionSpots(found["content"], arrays["hashes"], arrays["library_size"], found["ensembl"])


def spot_hashes(counts: sparse.csr_matrix, genes: tuple[str, ...]) -> NDArray[np.uint64]:
    """A hash of each spot that knows neither the order of the genes nor those of count 0.

    It is the sum over genes of hash(symbol) * count, modulo 2**64. Two spots whose counts differ, in at least one gene by
    an odd number, collide with a chance of 2**-64 (multilinear hashing: Carter and Wegman 1979); if all differences are
    multiples of 2**k, of 2**(k - 64).

    Args:
        counts: int (n, genes).
        genes: symbols of its columns.

    Returns:
        uint64 (n,).
    """
    weights = _symbol_hashes(genes)
    out = np.zeros(counts.shape[0], np.uint64)
    for start in range(0, len(out), _ROWS):
        out[start : start + _ROWS] = counts[start : start + _ROWS].astype(np.uint64) @ weights  # wraps around
    return out


@lru_cache(maxsize=4)  # sections of a dataset mostly share their genes
def _symbol_hashes(genes: tuple[str, ...]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.blake2b(gene.encode(), digest_size=8).digest() for gene in genes)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def content_hash(section: Section, image: str | None) -> str:
    """sha256 (hex) of a parsed section; `image` is the sha256 of its image."""
    counts = section.counts.copy()
    counts.sum_duplicates()
    counts.eliminate_zeros()
    arrays = {
        "data": (counts.data, "<i4"),
        "indices": (counts.indices, "<i8"),
        "indptr": (counts.indptr, "<i8"),
        "array_xy": (section.array_xy, "<f8"),
        "pixel_xy": (section.pixel_xy, "<f8"),
    }
    return canonical_hash(
        {
            "version": VERSION,
            "spots": section.spots,
            "genes": section.genes,
            "labels": section.labels,
            "microns_per_pixel": section.microns_per_pixel,
            "spot_diameter": section.spot_diameter,
            "image": image,
            **{name: None if values is None else _digest(values, dtype) for name, (values, dtype) in arrays.items()},
        }
    )


def _digest(values: NDArray[np.generic], dtype: str) -> str:
    array = np.ascontiguousarray(values, dtype)
    if array.dtype.kind == "f":
        array = array + 0.0  # -0 is 0
    return hashlib.sha256(array.data).hexdigest()

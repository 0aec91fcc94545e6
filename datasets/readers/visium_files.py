"""The files of a Visium sample, wherever they came from and whatever was put before their names.

Space Ranger writes them without a prefix: `filtered_feature_bc_matrix.h5` and the folder `spatial`. Downloads of 10x and
mirrors of them put the sample's name before each, GEO its accession too, often all in one folder, gzipped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError

_MATRIX = re.compile(
    r"(?P<prefix>(?:.*[-_.])?)(?P<kind>(?:filtered|raw)_feature_bc_matrix(?:\.h5)?|matrix\.mtx(?:\.gz)?)"
)
_BARCODES, _FEATURES = ("barcodes.tsv",), ("features.tsv", "genes.tsv")
_POSITIONS = (
    "tissue_positions.csv",
    "tissue_positions.parquet",
    "tissue_positions_list.csv",
    "tissue_positions_list.txt",
)
_FACTORS = ("scalefactors_json.json",)
_SMALL = ("tissue_hires_image.png",)
BIN = re.compile(r"square_(\d{3})um")  # a folder of Visium HD


@dataclass(frozen=True)
class VisiumFiles:
    """What a sample is made of.

    Attributes:
        matrix: the HDF5 file, or the three of matrix, features and barcodes.
        positions: of the spots, CSV or parquet.
        factors: Space Ranger's scale factors.
        small: its image of about 2,000 pixels. None where they are not there.
    """

    matrix: tuple[Path, ...]
    positions: Path
    factors: Path | None
    small: Path | None

    @property
    def tables(self) -> tuple[Path, ...]:
        """All that counts and coordinates come from."""
        return (*self.matrix, self.positions, *(() if self.factors is None else (self.factors,)))


def find_files(place: Path) -> VisiumFiles:
    """The files of the sample in a folder, or of the one in it whose files' names begin as `place` does.

    Raises:
        DataError: no matrix or no positions, or several samples.
    """
    folder, wanted = (place, None) if place.is_dir() else (place.parent, place.name)
    prefixes = {} if not folder.is_dir() else _prefixes(folder)
    if wanted is not None:
        prefixes = {prefix: kinds for prefix, kinds in prefixes.items() if prefix.rstrip("-_.") == wanted}
    if len(prefixes) != 1:
        raise DataError(
            f"Expected the matrix of one Visium sample (filtered_feature_bc_matrix.h5) at {place}, found "
            f"{', '.join(sorted(prefix.rstrip('-_.') or 'one without a prefix' for prefix in prefixes)) or 'none'}; "
            "name the folder of one, or what its files' names begin with."
        )
    (prefix, kinds), alone = next(iter(prefixes.items())), wanted is None
    matrix = min(kinds, key=lambda path: (not path.name[len(prefix) :].startswith("filtered"), path.suffix != ".h5"))
    parts = (matrix,) if matrix.suffix == ".h5" else _loose(matrix, prefix)
    positions = _first(folder, prefix, _POSITIONS, alone)
    if positions is None:
        raise DataError(
            f"Expected the positions of the spots (spatial/{_POSITIONS[0]}) of {place}, found none; unpack the folder "
            "'spatial' beside the matrix."
        )
    return VisiumFiles(parts, positions, _first(folder, prefix, _FACTORS, alone), _first(folder, prefix, _SMALL, alone))


def find_samples(folder: Path) -> Iterator[Path]:
    """Where samples lie below a folder: the folder of each or, where several share one, what its files' names begin with."""
    for path, inner, _ in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.endswith((".zarr", "_feature_bc_matrix")))
        place = Path(path)
        prefixes = _prefixes(place)
        for prefix in sorted(prefixes):
            alone = len(prefixes) == 1
            spatial = place / ("spatial" if alone else f"{prefix}spatial")
            if spatial.is_dir() or _first(place, prefix, _POSITIONS, alone) is not None:
                yield place if alone else place / prefix.rstrip("-_.")


def prefix_of(place: Path) -> str:
    """What the names of a sample's files begin with, without the separator after it; "" where that is nothing."""
    return place.name if not place.is_dir() else next(iter(_prefixes(place))).rstrip("-_.")


def _prefixes(folder: Path) -> dict[str, list[Path]]:
    """The matrices in a folder by what stands before their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _MATRIX.fullmatch(path.name)
        if match is not None and path.is_dir() == match["kind"].endswith("_matrix"):
            found.setdefault(match["prefix"], []).append(path)
    return found


def _loose(matrix: Path, prefix: str) -> tuple[Path, ...]:
    """Matrix, features and barcodes of a folder, or beside each other under one prefix.

    Raises:
        DataError: one of them is not there.
    """
    folder, before = (matrix, "") if matrix.is_dir() else (matrix.parent, prefix)
    parts = []
    for names in (("matrix.mtx",), _FEATURES, _BARCODES):
        paths = [folder / f"{before}{name}{ending}" for name in names for ending in (".gz", "")]
        part = next((path for path in paths if path.is_file()), None)
        if part is None:
            raise DataError(f"Expected {paths[0]} beside the matrix of its sample, but there is no such file; copy it.")
        parts.append(part)
    return tuple(parts)


def _first(folder: Path, prefix: str, names: tuple[str, ...], alone: bool) -> Path | None:
    """The first of the files that is there: in `spatial` or beside the matrix, prefixed or, if the sample is alone, not."""
    before = (prefix, "") if alone else (prefix,)
    places = [(folder / f"{prefix}spatial", (prefix, "")), (folder / "spatial", before), (folder, before)]
    paths = (
        place / f"{start}{name}{ending}"
        for name in names
        for place, starts in (places if prefix or alone else places[1:])
        for start in starts
        for ending in ("", ".gz")
    )
    return next((path for path in paths if path.is_file()), None)

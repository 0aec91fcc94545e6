"""Sections as plain tables: CSV or TSV of counts (spots x genes), CSV of spots with their pixels, an image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..count_table import read_count_table
from ..registry import Dataset, DatasetCard
from ..section import Section
from .listed import Reader, open_listed, stated_image
from .placement import pitch

VERSION = 2


def open_tables(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the tables that a card lists; errors as in `open_listed`."""
    return open_listed(card, data_dir, cache, Reader({"tables": VERSION}, _tables, read_tables, stated_image))


def read_tables(entry: SectionEntry, base: Path) -> Section:
    """A section from a table of counts and one of spots: columns spot, x, y (pixels), if known array_x, array_y.

    Raises:
        DataError: a table that is not what it should be, counts the wrong way round, or spots without a position.
    """
    where = f"Section {entry.id}"
    path = base / entry.file
    counts = read_count_table(path, b"," if ".csv" in path.suffixes else b"\t")
    spots = read_spots(_spots(entry, base))
    lost = [name for name in counts.spots if name not in spots]
    if lost and not set(lost) - set(counts.spots) and len(set(counts.genes) & set(spots)) > len(counts.genes) / 2:
        raise DataError(
            f"{where}: expected spots as rows and genes as columns in {path}, found them the other way round; "
            "transpose the table."
        )
    if lost:
        raise DataError(
            f"{where}: {len(lost)} of {len(counts.spots)} spots with counts have no position in {_spots(entry, base)} "
            f"({', '.join(lost[:3])}); add them, or remove their counts."
        )
    table = np.array([spots[name] for name in counts.spots])
    pixel_xy, array_xy = table[:, :2], table[:, 2:]
    if np.isnan(array_xy).any():
        array_xy = pixel_xy / pitch(pixel_xy) if len(pixel_xy) > 1 else np.zeros_like(pixel_xy)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts.counts,
        genes=counts.genes,
        spots=counts.spots,
        array_xy=array_xy,
        pixel_xy=pixel_xy,
    )


def read_spots(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """Pixel x, y and array x, y (NaN where there are none) of each spot; comma or tab between cells.

    Raises:
        DataError: a column that is missing, a cell that is no number, or a spot twice.
    """
    spots: dict[str, tuple[float, float, float, float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            missing = [name for name in ("spot", "x", "y") if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"Expected columns spot, x and y in {path}, found "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}; rename them."
                )
            for number, row in enumerate(reader, start=1):
                if row["spot"] in spots:
                    raise DataError(f"{path}, row {number}: spot {row['spot']} must appear once; remove the duplicate.")
                x, y, a, b = (_number(row.get(name), path, number, name) for name in ("x", "y", "array_x", "array_y"))
                spots[row["spot"]] = (x, y, a, b)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"Expected a readable table of spots in {path}, but {error}; give a CSV with columns spot, x, y."
        ) from error
    xy: NDArray[np.float64] = np.array(list(spots.values()) or np.zeros((0, 4)))
    if not len(xy) or not np.isfinite(xy[:, :2]).all():
        raise DataError(
            f"Expected a position in pixels for every spot in {path}, found {'none' if not len(xy) else 'empty cells'}."
        )
    return spots


def _number(text: str | None, path: Path, row: int, column: str) -> float:
    try:
        return float(text) if text not in (None, "", "NA") else float("nan")
    except ValueError:
        raise DataError(f"{path}, row {row}, column '{column}': expected a number, found '{text}'.") from None


def _spots(entry: SectionEntry, base: Path) -> Path:
    if entry.spots is None:
        raise DataError(f"Section {entry.id}: expected a table of spots; name it in the card with 'spots:'.")
    return base / entry.spots


def _tables(entry: SectionEntry, base: Path) -> tuple[Path, ...]:
    return base / entry.file, _spots(entry, base)

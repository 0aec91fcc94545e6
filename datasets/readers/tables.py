"""Sections as plain tables: CSV or TSV of counts (spots x genes), CSV of spots with their pixels, an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError, short
from ...names import UNNAMED
from ...text_files import read_rows, read_text
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..count_table import check_separator, read_count_table
from ..registry import Dataset, DatasetCard
from ..section import Section
from ..spot_tables import plain_number
from .listed import Reader, open_listed, stated_image
from .placement import check_positions, in_pitches

VERSION = 3
_COLUMNS = ("x", "y", "array_x", "array_y")


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
    table = np.array([spots[name] for name in counts.spots]).reshape(-1, 4)
    pixel_xy, array_xy = table[:, :2], table[:, 2:]
    check_positions(where, counts.spots, pixel_xy, f"position in {_spots(entry, base)}")
    if np.isnan(array_xy).all():
        array_xy = in_pitches(pixel_xy)
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
    """Pixel x, y and array x, y of each spot, NaN where a cell is empty; tabs between cells where the name ends so.

    The column of names may be called spot, or have no name, as R and pandas write it.

    Raises:
        DataError: a column that is missing, a cell that is no number, or a spot twice.
    """
    spots: dict[str, tuple[float, float, float, float]] = {}
    separator = "\t" if path.suffix == ".tsv" else ","
    what, remedy = "a table of spots", "give a CSV with columns spot, x, y"
    check_separator(read_text(path, what, remedy).partition("\n")[0].encode(), separator.encode(), path)
    columns, *rows = read_rows(path, what, remedy, separator) or [[]]
    for number, row in enumerate(rows, start=1):
        if number == 1:
            columns = _named(columns, len(row), path)
        if not row:
            continue
        if len(row) != len(columns):
            raise DataError(f"{path}, row {number}: expected {len(columns)} cells, found {len(row)}; correct it.")
        cells = dict(zip(columns, row, strict=True))
        if cells["spot"] in spots:
            name = short(cells["spot"]).strip("'")
            raise DataError(f"{path}, row {number}: spot {name} must appear once; remove the duplicate.")
        x, y, a, b = (_number(cells.get(name), path, number, name) for name in _COLUMNS)
        spots[cells["spot"]] = (x, y, a, b)
    if not spots:
        raise DataError(f"Expected a position in pixels for every spot in {path}, found none; write the spots.")
    return spots


def _named(columns: list[str], width: int, path: Path) -> list[str]:
    """The columns' names, the first of which may be empty or, as R writes it, missing."""
    named = ["spot", *columns] if width == len(columns) + 1 else columns
    if named and named[0] == "":
        named = ["spot", *named[1:]]
    if len(set(named)) != len(named):
        raise DataError(f"Expected each column once in {path}, found {_some(columns)}; remove the duplicate.")
    if not {"spot", "x", "y"} <= set(named):
        raise DataError(f"Expected columns spot, x and y in {path}, found {_some(columns)}; rename them.")
    one = {"array_x", "array_y"} & set(named)
    if len(one) == 1:
        raise DataError(f"Expected columns array_x and array_y in {path}, found only {one.pop()}; add the other.")
    return named


def _some(columns: list[str]) -> str:
    """Names of columns on one line, a few of them."""
    return ", ".join(short(name).strip("'") for name in columns[:8]) or "none"


def _number(text: str | None, path: Path, row: int, column: str) -> float:
    try:
        return plain_number(text) if text not in (None, "", "NA") else float("nan")
    except ValueError:
        remedy = "write decimals with a point" if "," in str(text) else "correct it"
        raise DataError(
            f"{path}, row {row}, column '{column}': expected a number, found {short(text)}; {remedy}."
        ) from None


def _spots(entry: SectionEntry, base: Path) -> Path:
    if entry.spots is None:
        raise DataError(f"Section {entry.id}: expected a table of spots; name it in the card with 'spots:'.")
    return base / entry.spots


def _tables(entry: SectionEntry, base: Path) -> tuple[Path, ...]:
    return base / entry.file, _spots(entry, base)

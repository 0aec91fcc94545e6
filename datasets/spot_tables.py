"""Small tables of spots as the Spatial Transcriptomics pipelines write them: places on the array and in the image, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError, short
from ..text_files import read_rows


def read_selection(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """Array x, y (fitted) and pixel x, y of each spot, by its name on the array.

    Raises:
        DataError: no readable table with x, y, new_x, new_y, pixel_x, pixel_y, a position that is none, or a spot
            twice.
    """
    chosen: dict[str, tuple[float, float, float, float]] = {}
    for line, row in table_rows(path, ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y")):
        x, y, *place = (number(path, line, column, row[column]) for column in row)
        if not np.isfinite([x, y, *place]).all():
            raise DataError(
                f"{path}, row {line}: expected a position, found {list(row.values())}; correct or remove the row."
            )
        name = f"{round(x)}x{round(y)}"
        if name in chosen:
            raise DataError(f"{path}, row {line}: spot {name} must appear once; remove the duplicate.")
        chosen[name] = (place[0], place[1], place[2], place[3])
    return chosen


def read_labels(path: Path) -> dict[str, str]:
    """Label of each spot by its name on the array; rows without a position are left out."""
    labels: dict[str, str] = {}
    for line, row in table_rows(path, ("x", "y", "label")):
        x, y = (number(path, line, column, row[column]) for column in ("x", "y"))
        if np.isfinite(x) and np.isfinite(y):
            name = f"{round(x)}x{round(y)}"
            if labels.setdefault(name, row["label"]) != row["label"]:
                raise DataError(f"{path}, row {line}: spot {name} has two labels; remove one of them.")
    return labels


def table_rows(
    path: Path, columns: tuple[str, ...], separator: str = "\t", remedy: str = "fetch the file again"
) -> list[tuple[int, dict[str, str]]]:
    """The named columns of a small table, gzipped or not, with row numbers.

    Raises:
        DataError: no such table, or a column that is missing.
    """
    head, *rows = read_rows(path, "a table", remedy, separator) or [[]]
    missing = [column for column in columns if column not in head]
    if missing:
        there = ", ".join(map(repr, head[:8])) or "an empty line"
        raise DataError(
            f"Expected columns {', '.join(columns)} in {path}, found no {', '.join(missing)} (its first line holds {there}); {remedy}."
        )
    twice = [column for column in columns if head.count(column) > 1]
    if twice:
        raise DataError(f"Expected column {twice[0]} once in {path}, found it {head.count(twice[0])} times; {remedy}.")
    at = {column: head.index(column) for column in columns}
    filled = [row for row in rows if row]
    return [
        (i, {column: row[place] if place < len(row) else "" for column, place in at.items()})
        for i, row in enumerate(filled, start=1)
    ]


def number(path: Path, row: int, column: str, text: str) -> float:
    """A number; NaN for the NA of R.

    Raises:
        DataError: something else.
    """
    try:
        return float("nan") if text in ("NA", "") else plain_number(text)
    except ValueError:
        raise DataError(
            f"{path}, row {row}, column '{column}': expected a number, found {short(text)}; correct it."
        ) from None


def plain_number(text: str) -> float:
    """The number that a cell states.

    Raises:
        ValueError: it is none, or one that only Python would read: 1_000.
    """
    if "_" in text:
        raise ValueError(f"no number: {short(text)}")
    return float(text)

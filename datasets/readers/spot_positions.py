"""Space Ranger's positions of spots or bins: CSV with or without a header, or parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

COLUMNS = ("in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def read_positions(path: Path) -> tuple[dict[str, int], NDArray[np.float64]]:
    """Row of each barcode, and the table, float64 (n, 5): in_tissue, array row and column, pixel row and column.

    Raises:
        DataError: a damaged or foreign file, or a barcode twice.
    """
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            separator = "\t" if b"\t" in _start(path) else ","
            table = pd.read_csv(path, header=None, sep=separator, dtype=str, encoding="utf-8-sig")
            if not _is_number(table.iat[0, 1]):
                table = table.iloc[1:].set_axis(table.iloc[0].fillna("").astype(str), axis=1)
            else:
                table = table.set_axis(["barcode", *COLUMNS], axis=1)
        if "barcode" not in table and table.index.name == "barcode":
            table = table.reset_index()
        barcodes = [str(name) for name in table["barcode"]]
        values = np.column_stack([pd.to_numeric(table[name]).to_numpy(dtype=np.float64) for name in COLUMNS])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"Expected the columns barcode, {', '.join(COLUMNS)} in {path}, but {error}; copy the file again."
        ) from error
    rows = {name: row for row, name in enumerate(barcodes)}
    if len(rows) != len(barcodes):
        twice = next(name for row, name in enumerate(barcodes) if rows[name] != row)
        raise DataError(
            f"{path}: each barcode must appear once, but {twice} appears more than once; copy the file again."
        )
    return rows, values


def _start(path: Path) -> bytes:
    import gzip

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return bytes(file.readline())


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True

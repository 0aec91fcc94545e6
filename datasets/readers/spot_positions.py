"""Space Ranger's positions of spots or bins: CSV with or without a header, or parquet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...array_files import read_parquet
from ...errors import DataError, reading
from ...text_files import read_text

COLUMNS = ("in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def read_positions(path: Path) -> tuple[dict[str, int], NDArray[np.float64]]:
    """Row of each barcode, and the table, float64 (n, 5): in_tissue, array row and column, pixel row and column.

    Raises:
        DataError: a damaged or foreign file, or a barcode twice.
    """
    import pandas as pd

    what, remedy = f"the columns barcode, {', '.join(COLUMNS)}", "copy the file again"
    with reading(what, path, remedy):
        if path.suffix == ".parquet":
            table = read_parquet(path, what, remedy).to_pandas()
        else:
            text = read_text(path, what, remedy)
            separator = "\t" if "\t" in text.partition("\n")[0] else ","
            table = pd.read_csv(io.StringIO(text), header=None, sep=separator, dtype=str)
            if not _is_number(table.iat[0, 1]):
                table = table.iloc[1:].set_axis(table.iloc[0].fillna("").astype(str), axis=1)
            else:
                table = table.set_axis(["barcode", *COLUMNS], axis=1)
        if "barcode" not in table and table.index.name == "barcode":
            table = table.reset_index()
        if missing := [name for name in ("barcode", *COLUMNS) if name not in table]:
            raise DataError(f"Expected {what} in {path}, found no {', '.join(missing)}; {remedy}.")
        barcodes = [str(name) for name in table["barcode"]]
        values = np.column_stack([pd.to_numeric(table[name]).to_numpy(dtype=np.float64) for name in COLUMNS])
    rows = {name: row for row, name in enumerate(barcodes)}
    if len(rows) != len(barcodes):
        twice = next(name for row, name in enumerate(barcodes) if rows[name] != row)
        raise DataError(
            f"{path}: each barcode must appear once, but {twice} appears more than once; copy the file again."
        )
    return rows, values


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True

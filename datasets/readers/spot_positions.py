"""Space Ranger's positions of spots or bins: CSV with or without a header, or parquet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...array_files import read_parquet
from ...errors import DataError, reading, short
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
            head = text.partition("\n")[0]
            separator = "\t" if "\t" in head else ","
            if head.count(separator) < len(COLUMNS):
                raise DataError(f"Expected {what} in {path}, found {short(head)} in its first line; {remedy}.")
            table = pd.read_csv(io.StringIO(text), header=None, sep=separator, dtype=str)
            cells = head.count(separator)
            cut = [i for i, line in enumerate(text.splitlines(), start=1) if line and line.count(separator) < cells]
            if cut:
                raise DataError(f"Expected {what} in {path}, found no last cell in line {cut[0]}; {remedy}.")
            if not _is_number(table.iat[0, 1]):
                table = table.iloc[1:].set_axis(table.iloc[0].fillna("").astype(str), axis=1)
            else:
                table = table.set_axis(["barcode", *COLUMNS], axis=1)
        if "barcode" not in table and table.index.name == "barcode":
            table = table.reset_index()
        if wrong := [name for name in ("barcode", *COLUMNS) if list(table.columns).count(name) != 1]:
            found = "no" if wrong[0] not in table else "more than one"
            raise DataError(f"Expected {what} in {path}, found {found} {', '.join(wrong)}; {remedy}.")
        barcodes = [str(name) for name in table["barcode"]]
        values = np.column_stack([pd.to_numeric(table[name]).to_numpy(dtype=np.float64) for name in COLUMNS])
    if len(strange := np.flatnonzero(~np.isin(values[:, 0], (0, 1)) & ~np.isnan(values[:, 0]))):
        raise DataError(
            f"{path}: expected 0 or 1 as in_tissue, found {values[strange[0], 0]:g} for {barcodes[strange[0]]}; {remedy}."
        )
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

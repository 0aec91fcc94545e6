"""Reading what lies beside a record: predictions and scores of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .record import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StoredPredictions:
    """A cell's predictions and truth, all rows in the order of its spots, columns in that of `genes`.

    Attributes:
        sections, patients: of each spot (n,). library_size: int64 (n,), over all genes.
        prediction: float32 (n, genes), target space, unrounded. truth: float32 (n, genes), target space.
        array_xy: (n, 2) pitches. pixel_xy: (n, 2) pixels of the full-resolution image, or None.
    """

    sections: NDArray[np.str_]
    patients: NDArray[np.str_]
    library_size: NDArray[np.int64]
    genes: tuple[str, ...]
    target: str
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32]
    array_xy: NDArray[np.float64]
    pixel_xy: NDArray[np.float64] | None


def folders_by_cell(found: Iterable[tuple[Path, Record]]) -> dict[str, Path]:
    """Cell identity -> its folder, of what `find_records` returned; folders that hold a record alone are left out."""
    return {record.cell: folder for folder, record in found if any(p.name != "record.json" for p in folder.iterdir())}


def read_predictions(folder: Path, genes: Sequence[str] | None = None) -> StoredPredictions:
    """The predictions of a cell; with `genes` only those columns, in that order, absent ones left out.

    Raises:
        DataError: the file is missing or no predictions of qbench.
    """
    import h5py
    from anndata import io

    path = folder / "predictions.h5ad"
    if not path.is_file():
        raise DataError(f"Expected predictions of qbench in {path}, but the file is missing; run the cell again.")
    try:
        with h5py.File(path) as file:
            obs, names = io.read_elem(file["obs"]), [str(name) for name in io.read_elem(file["var"]).index]
            if genes is not None:
                where = {name: i for i, name in enumerate(names)}
                kept = [where[gene] for gene in genes if gene in where]
                names = [names[i] for i in kept]
            columns: Any = slice(None) if genes is None else np.array(kept, dtype=np.intp)
            # Whole rows are read and columns chosen in memory: h5py's fancy indexing is far slower than both.
            return StoredPredictions(
                sections=obs["section"].to_numpy(str),
                patients=obs["patient"].to_numpy(str),
                library_size=obs["library_size"].to_numpy(np.int64),
                genes=tuple(names),
                target=str(io.read_elem(file["uns"])["target"]),
                prediction=file["X"][:][:, columns],
                truth=file["layers/truth"][:][:, columns],
                array_xy=file["obsm/array"][:],
                pixel_xy=file["obsm/spatial"][:] if "spatial" in file["obsm"] else None,
            )
    except (OSError, KeyError) as error:
        raise DataError(
            f"Expected predictions of qbench in {path}, but they cannot be read ({error}); run the cell again."
        ) from error


def read_scores(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The scores of a cell, a row a section (or patient) and gene.

    Raises:
        DataError: the file is missing or no table of scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "scores.parquet"
    if not path.is_file():
        raise DataError(f"Expected scores in {path}, but the file is missing; run the cell again.")
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns)).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"Expected scores in {path}, but they cannot be read ({error}); run the cell again.") from error


def read_diagnostics(folder: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Of the named diagnostics of a cell those that its method kept; "history/<metric>" is a metric by epoch."""
    path = folder / "diagnostics.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names if name in file.files}

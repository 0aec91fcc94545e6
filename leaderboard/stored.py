"""Reading what lies beside a record: predictions and scores of a cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..array_files import read_arrays, read_parquet
from ..errors import DataError
from ..files import plain_sha256
from ..hdf5_files import open_hdf5
from .record import Record, read_record

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    import pyarrow as pa

AGAIN = "run the cell again"
MOST = 1 << 28  # values of a table of scores


@dataclass(frozen=True)
class StoredPredictions:
    """A cell's predictions and truth, all rows in the order of its spots, columns in that of `genes`.

    Attributes:
        sections, patients: of each spot (n,).
        library_size: int64 (n,), over all genes.
        prediction: float32 (n, genes), target space, unrounded.
        truth: float32 (n, genes), target space.
        array_xy: (n, 2) pitches.
        pixel_xy: (n, 2) pixels of the full-resolution image, or None.
        unclamped: as `prediction` before the clamp at 0, where a benchmark's own figure is made of it, or None.
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
    unclamped: NDArray[np.float32] | None = None


def folders_by_cell(found: Iterable[tuple[Path, Record]]) -> dict[str, Path]:
    """Cell identity -> its folder, of what `find_records` returned; folders that hold a record alone are left out."""
    return {record.cell: folder for folder, record in found if any(p.name != "record.json" for p in folder.iterdir())}


def hash_files(folder: Path, sha256: Callable[[Path], str] = plain_sha256) -> dict[str, str]:
    """sha256 of each file of a cell but its record and its model, by name."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "record.json")
    return {path.name: sha256(path) for path in files}


def damage(
    folder: Path, record: Record, left_out: Collection[str] = (), sha256: Callable[[Path], str] = plain_sha256
) -> list[str]:
    """A sentence for each file of a cell that is not as it was written; of records without hashes, that cannot be read.

    Args:
        folder: of the cell.
        record: the cell's.
        left_out: files that were left out on purpose, and are not missed.
        sha256: of a file; one that remembers believes that a file of the same size, time and inode is the same.
    """
    found = []
    if record.hashes.files is None:
        for read in (read_diagnostics, read_table):
            try:
                read(folder)
            except DataError as error:
                found.append(str(error))
        return found
    there = hash_files(folder, sha256)
    return [
        f"{name} {'is not the one that was written (sha256 differs)' if name in there else 'is missing'}; {AGAIN}"
        for name, sha256 in record.hashes.files.items()
        if there.get(name) != sha256 and (name in there or name not in left_out)
    ]


def read_predictions(folder: Path, genes: Sequence[str] | None = None) -> StoredPredictions:
    """The predictions of a cell; with `genes` only those columns, in that order, absent ones left out.

    Raises:
        DataError: the file is missing or no predictions of qbench.
    """
    from anndata import io

    with open_predictions(folder) as file:
        obs, names = io.read_elem(file["obs"]), [str(name) for name in io.read_elem(file["var"]).index]
        sections = obs["section"].to_numpy(str)
        _check_sections(folder, "predictions.h5ad", sections)
        shape = (len(obs), len(names))
        raw = "layers/unclamped"
        for part in ("X", "layers/truth", *([raw] if raw in file else [])):
            if file[part].shape != shape:
                raise ValueError(f"{part} is {file[part].shape}, its spots and genes are {shape}")
        if len(file["obsm/array"]) != len(obs):
            raise ValueError(f"{len(file['obsm/array'])} positions of {len(obs)} spots")
        if genes is not None:
            where = {name: i for i, name in enumerate(names)}
            kept = [where[gene] for gene in genes if gene in where]
            names = [names[i] for i in kept]
        columns: Any = slice(None) if genes is None else np.array(kept, dtype=np.intp)
        # Whole rows are read and columns chosen in memory: h5py's fancy indexing is far slower than both.
        return StoredPredictions(
            sections=sections,
            patients=obs["patient"].to_numpy(str),
            library_size=obs["library_size"].to_numpy(np.int64),
            genes=tuple(names),
            target=str(io.read_elem(file["uns"])["target"]),
            prediction=file["X"][:][:, columns],
            truth=file["layers/truth"][:][:, columns],
            array_xy=file["obsm/array"][:],
            pixel_xy=file["obsm/spatial"][:] if "spatial" in file["obsm"] else None,
            unclamped=file[raw][:][:, columns] if raw in file else None,
        )


def read_spots(folder: Path) -> NDArray[np.str_]:
    """Names of the spots of a cell's predictions, in their order; errors as in `read_predictions`."""
    from anndata import io

    with open_predictions(folder) as file:
        return np.asarray(io.read_elem(file["obs"])["spot"].to_numpy(str))


@contextmanager
def open_predictions(folder: Path) -> Iterator[h5py.File]:
    """The predictions of a cell, open for reading.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    path = folder / "predictions.h5ad"
    _check_there(path, "predictions of qbench")
    with open_hdf5(path, "predictions of qbench", AGAIN) as file:
        yield file


def _check_there(path: Path, what: str) -> None:
    if not path.exists():
        raise DataError(f"Expected {what} in {path}, but the file is missing; {AGAIN}.")


def _check_sections(folder: Path, name: str, sections: Iterable[Any]) -> None:
    """Hold the sections of a file against the record beside it: files of two cells may have been exchanged."""
    path = folder / "record.json"
    if not path.is_file():
        return
    # That the record was edited is told where it is read for itself.
    _check_due(folder / name, sections, read_record(path, edited=lambda _: None))


def _check_due(path: Path, sections: Iterable[Any], record: Record) -> None:
    due, found = set(record.fold.test), set(map(str, sections))
    if not found <= due:
        raise DataError(
            f"Expected test sections {', '.join(sorted(due))} in {path}, as its record has them, found "
            f"{', '.join(sorted(found - due))}; {AGAIN}."
        )


def read_scores(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The scores of a cell, a row a section (or patient) and gene.

    Raises:
        DataError: the file is missing or no table of scores.
    """
    table = read_table(folder, columns).to_pandas()
    if {"level", "section"} <= set(table.columns):
        _check_sections(folder, "scores.parquet", table["section"][table["level"] == "section"].unique())
    return table


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The scores of a cell as they are stored; errors as in `read_scores`."""
    path = folder / "scores.parquet"
    _check_there(path, "scores")
    return read_parquet(path, "scores", AGAIN, columns, MOST)


def section_scores(
    folder: Path, record: Record, column: str, genes: str | None = None
) -> Iterator[tuple[str, list[str], NDArray[np.float64]]]:
    """Of each test section of a cell its name, its genes and a column of their scores.

    Args:
        folder: of the cell.
        record: the cell's.
        column: of `scores.parquet`.
        genes: the column of a list ("mg", "hvg", "heg", "all") whose genes are wanted; None for all.

    Raises:
        DataError: the file is missing or no table of scores, or of sections that are not the record's.
    """
    import pyarrow.compute as pc

    table = read_table(folder, ["level", "section", "gene", column, *([] if genes is None else [genes])])
    table = table.filter(pc.equal(table["level"], "section"))
    sections = pc.unique(table["section"]).to_pylist()
    _check_due(folder / "scores.parquet", sections, record)
    if genes is not None:
        table = table.filter(table[genes])
    for section in sections:
        part = table if len(sections) == 1 else table.filter(pc.equal(table["section"], section))
        yield section, part["gene"].to_pylist(), part[column].to_numpy().astype(np.float64)


def read_diagnostics(folder: Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Of the named diagnostics of a cell (or all) those that its method kept; "history/<metric>" is a metric by epoch.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "diagnostics.npz"
    return read_arrays(path, "diagnostics", AGAIN, names) if path.exists() else {}

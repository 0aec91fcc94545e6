"""An AnnData file (`.h5ad`) read part by part: nothing that is not asked for is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...errors import DataError
from ...hdf5_files import open_hdf5
from ..section import whole_counts

if TYPE_CHECKING:
    import h5py
    import pandas as pd


BLOCK = 1 << 25  # values of a matrix that are read at once


@contextmanager
def open_anndata(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading, in today's layout: one older than anndata 0.7 is laid out anew in memory.

    Raises:
        DataError: no HDF5 file, or one that is not AnnData.
    """
    import h5py

    with open_hdf5(path, "an AnnData file", "is it an .h5ad?") as file:
        if not {"obs", "var"} <= set(file):
            raise DataError(f"Expected an AnnData file in {path}, found HDF5 without obs and var; is it an .h5ad?")
        if not isinstance(file["obs"], h5py.Dataset) and "raw.X" not in file:
            yield file
            return
    # The old layout is read by its path, which has been looked through above.
    with h5py.File("anew", "w", driver="core", backing_store=False) as anew:
        _write_anew(path, anew)
        yield anew


def read_part(file: h5py.File, name: str) -> Any:
    """One element ("obs", "layers/counts", ...) as AnnData reads it.

    Raises:
        DataError: one that this version of anndata cannot read.
    """
    from anndata.io import read_elem

    try:
        return read_elem(file[name])
    except Exception as error:  # whatever anndata meets in a stranger's file; its own error has no public name
        raise _unreadable(Path(file.filename), f"'{name}'", error) from error


def library_rows(obs: pd.DataFrame, file: h5py.File) -> dict[str, NDArray[np.intp]] | None:
    """Rows of each of several samples in one file, by name in order; {} where there is one, None where none is told apart.

    They are the values of obs["library_id"], or of the column whose values are the names in uns["spatial"].

    Raises:
        DataError: spots of no library, where there are several.
    """
    spatial = file["uns/spatial"] if "uns" in file and "spatial" in file["uns"] else ()
    known = set(map(str, spatial)) if hasattr(spatial, "keys") else set()
    texts = text_columns(obs)
    columns = [name for name, values in texts.items() if known and set(values) <= known]
    if "library_id" in obs:
        columns.insert(0, "library_id")
        texts["library_id"] = [str(value) for value in obs["library_id"]]
    if not columns:
        return None if len(known) > 1 else {}
    values = np.array(texts[columns[0]], dtype=object)
    names = sorted(set(values[~obs[columns[0]].isna().to_numpy()]))
    if len(names) < 2:
        return {}
    nowhere = obs.index[obs[columns[0]].isna()]
    if len(nowhere):
        raise DataError(
            f"{file.filename}: {len(nowhere)} of {len(obs)} spots have no obs['{columns[0]}'] "
            f"({', '.join(map(str, nowhere[:3]))}), which parts its libraries ({', '.join(names)}); name it, or remove them."
        )
    return {name: np.flatnonzero(values == name) for name in names}


def library_column(obs: pd.DataFrame, rows: dict[str, NDArray[np.intp]]) -> str:
    """Name of the column of obs that `library_rows` went by."""
    texts = {"library_id": [], **text_columns(obs)} if "library_id" in obs else text_columns(obs)
    return next(name for name, values in texts.items() if name == "library_id" or set(values) == set(rows))


def read_counts(
    file: h5py.File, rows: NDArray[np.intp], layer: str | None, where: str
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Raw counts of the given rows, CSR int32 (rows, genes), and the table of genes that belongs to them.

    Read in blocks: a large matrix never lies in memory as the file states it.

    Raises:
        DataError: a layer that is not there, no matrix, or values that are not counts; says which other matrices there
            are.
    """
    choices = _matrices(file)
    part, genes = (
        ("X", "var") if layer is None else ("raw/X", "raw/var") if layer == "raw" else (f"layers/{layer}", "var")
    )
    if part not in file:
        raise DataError(
            f"{where}: expected counts in {_said(layer)}, found {', '.join(choices) or 'no matrix'}; mend 'layer:' in the card."
        )
    blocks = []
    for values in _blocks(file, part, rows):
        try:
            blocks.append(whole_counts(values, where))
        except DataError as error:
            others = [name for name in choices if name != _said(layer) and _looks_whole(file, name)]
            hint = (
                f"name it in the card: 'layer: {others[0].removeprefix('layers/')}'"
                if others
                else "give a file with raw counts"
            )
            data = values.data if sparse.issparse(values) else np.asarray(values)
            kind = "scaled" if float(np.min(data, initial=0.0)) < 0 else "normalised"
            raise DataError(
                f"{where}: expected raw counts (whole numbers) in {_said(layer)}, found values like {_example(data)}, "
                f"which look {kind}; {hint}."
            ) from error
    counts = blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr", dtype=np.int32)
    return counts, read_part(file, genes)


def text_columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of a table that hold text, by name."""
    return {
        str(name): [str(value) for value in table[name]]
        for name in table.columns
        if table[name].dtype == object or str(table[name].dtype) in ("category", "string", "str")
    }


def read_coordinates(file: h5py.File, path: Path, where: str) -> NDArray[np.float64]:
    """obsm["spatial"], float64 (spots, 2).

    Raises:
        DataError: there is none, or it has not two columns.
    """
    known = sorted(file["obsm"]) if "obsm" in file else []
    if "spatial" not in known:
        raise DataError(
            f"{where}: expected coordinates in obsm['spatial'] of {path}, found {', '.join(known) or 'no obsm'}; add "
            "the spot centres in pixels of the full-resolution image."
        )
    found = read_part(file, "obsm/spatial")
    if {"x", "y"} == {str(name).casefold() for name in getattr(found, "columns", ())}:
        found = found[sorted(found.columns, key=str.casefold)]  # a table says itself which is which
    values = np.asarray(found, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise DataError(
            f"{where}: expected x and y in obsm['spatial'] of {path}, found an array of shape {values.shape}; give two columns."
        )
    return values


def _write_anew(path: Path, to: h5py.File) -> None:
    """What anndata reads of an old file, written as today's anndata writes it."""
    import warnings

    import anndata
    from anndata.io import write_elem

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the layout's age, and on names that are there twice
            data = anndata.read_h5ad(path)
            data.uns = {key: value for key, value in data.uns.items() if key in ("spatial", "qbench")}
            write_elem(to, "/", data)
    except Exception as error:
        raise _unreadable(path, "this old layout", error) from error


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return DataError(
        f"Expected an AnnData file that anndata can read in {path}, but {what} cannot be read: {reason}; open it with the "
        "anndata that wrote it and write it anew."
    )


def _blocks(file: h5py.File, part: str, rows: NDArray[np.intp]) -> Iterator[Any]:
    """The rows (ascending) of a matrix, block by block; a matrix that is stored by columns as a whole."""
    import h5py
    from anndata.io import sparse_dataset

    node = file[part]
    by_rows = isinstance(node, h5py.Dataset) or str(node.attrs.get("encoding-type")).startswith("csr")
    if not by_rows or not len(rows):
        whole = read_part(file, part)
        yield whole if len(rows) == whole.shape[0] else sparse.csr_matrix(whole)[rows]
        return
    stored = node if isinstance(node, h5py.Dataset) else sparse_dataset(node)
    step = max(1, BLOCK // max(1, stored.shape[1]))
    for start in range(int(rows[0]), int(rows[-1]) + 1, step):
        inside = rows[(rows >= start) & (rows < start + step)]
        if len(inside):
            block = stored[start : min(start + step, int(rows[-1]) + 1)]
            yield block if len(inside) == block.shape[0] else block[inside - start]


def _matrices(file: h5py.File) -> list[str]:
    layers = [f"layers/{name}" for name in sorted(file["layers"])] if "layers" in file else []
    raw = file.get("raw")
    in_raw = ["raw"] if hasattr(raw, "keys") and "X" in raw else []  # a null dataset where there is none
    return [*(["X"] if "X" in file else []), *layers, *in_raw]


def _looks_whole(file: h5py.File, name: str) -> bool:
    """Whether the first values of a matrix are whole and not negative."""
    import h5py

    node = file["raw/X" if name == "raw" else name]
    data = node["data"][:10_000] if isinstance(node, h5py.Group) else np.asarray(node[:100]).ravel()
    return bool(np.isfinite(data).all() and (data >= 0).all() and (data == np.floor(data)).all())


def _said(layer: str | None) -> str:
    return "X" if layer is None else layer if layer == "raw" else f"layers/{layer}"


def _example(data: NDArray[Any]) -> str:
    flat = data.ravel()
    wrong = flat[~np.isfinite(flat) | (flat < 0) | (flat != np.floor(flat))]
    return f"{float(wrong[0]):.4g}" if len(wrong) else "none that are whole"

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
from ..section import whole_counts

if TYPE_CHECKING:
    import h5py
    import pandas as pd


@contextmanager
def open_anndata(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading.

    Raises:
        DataError: no HDF5 file, or one that is not AnnData.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            f"Expected an AnnData file in {path}, but {str(error).splitlines()[0]}; is it an .h5ad?"
        ) from error
    with file:
        if not {"obs", "var"} <= set(file):
            raise DataError(f"Expected an AnnData file in {path}, found HDF5 without obs and var; is it an .h5ad?")
        yield file


def read_part(file: h5py.File, name: str) -> Any:
    """One element ("obs", "layers/counts", ...) as AnnData reads it."""
    from anndata.io import read_elem

    return read_elem(file[name])


def read_counts(file: h5py.File, layer: str | None, where: str) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Raw counts, CSR int32 (spots, genes), and the table of genes that belongs to them.

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
            f"{where}: expected counts in {_said(layer)}, found {', '.join(choices) or 'no matrix'}; mend 'layer:' "
            "in the card."
        )
    values = read_part(file, part)
    try:
        counts = whole_counts(values, where)
    except DataError as error:
        others = [name for name in choices if name != _said(layer) and _looks_whole(file, name)]
        hint = (
            f"name it in the card: 'layer: {others[0].removeprefix('layers/')}'"
            if others
            else "give a file with raw counts"
        )
        data = values.data if sparse.issparse(values) else np.asarray(values)
        smallest = float(np.min(data)) if data.size else 0.0
        kind = "scaled" if smallest < 0 else "normalised"
        raise DataError(
            f"{where}: expected raw counts (whole numbers) in {_said(layer)}, found values like {_example(data)}, "
            f"which look {kind}; "
            f"{hint}."
        ) from error
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
            f"{where}: expected coordinates in obsm['spatial'] of {path}, found {', '.join(known) or 'no obsm'}; "
            "add the spot centres "
            "in pixels of the full-resolution image."
        )
    values = np.asarray(read_part(file, "obsm/spatial"), dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise DataError(
            f"{where}: expected x and y in obsm['spatial'] of {path}, found an array of shape {values.shape}."
        )
    return values


def _matrices(file: h5py.File) -> list[str]:
    layers = [f"layers/{name}" for name in sorted(file["layers"])] if "layers" in file else []
    return [*(["X"] if "X" in file else []), *layers, *(["raw"] if "raw" in file and "X" in file["raw"] else [])]


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

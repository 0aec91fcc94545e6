"""Sections as AnnData files: counts in `X` or a layer, `obsm["spatial"]` in pixels, the image named by the card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..registry import Dataset, DatasetCard
from ..section import Section
from .anndata_file import open_anndata, read_coordinates, read_counts, read_part, text_columns
from .genes import add_up_duplicates, are_ensembl, refuse_duplicates, to_symbols
from .listed import Reader, open_listed, stated_image
from .placement import pitch

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
_HEX_ROW = 3**0.5 / 2  # distance of two rows of a hexagonal array, in pitches


def open_h5ad(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the `.h5ad` files that a card lists; errors as in `open_listed`."""
    reader = Reader(
        {"h5ad": VERSION},
        lambda entry, base: (base / entry.file,),
        lambda entry, base: read_h5ad(entry, base / entry.file),
        stated_image,
    )
    return open_listed(card, data_dir, cache, reader)


def read_h5ad(entry: SectionEntry, path: Path) -> Section:
    """A section from an AnnData file.

    Raises:
        DataError: normalised values where counts are due, no coordinates, genes that appear twice, an unknown layer or
            column.
    """
    where = f"Section {entry.id}"
    with open_anndata(path) as file:
        counts, var = read_counts(file, entry.layer, where)
        names = [str(name) for name in var.index]
        symbols, notes = to_symbols(names, text_columns(var), entry.symbols, where)
        if symbols == tuple(names) and not are_ensembl(names):
            refuse_duplicates(symbols, where)
        counts, symbols, more = add_up_duplicates(counts, symbols)
        pixel_xy = read_coordinates(file, path, where)
        obs = read_part(file, "obs")
        array_xy = read_part(file, "obsm/array") if "array" in file["obsm"] else None
        stated = dict(read_part(file, "uns/qbench")) if "uns" in file and "qbench" in file["uns"] else {}
    labels = None
    if entry.labels is not None:
        if entry.labels not in obs:
            raise DataError(
                f"{where}: expected labels in obs column '{entry.labels}' of {path}, found "
                f"{', '.join(map(str, obs.columns))}."
            )
        labels = tuple(str(value) for value in obs[entry.labels].astype(object).fillna(""))
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=symbols,
        spots=tuple(str(name) for name in obs.index),
        array_xy=array_positions(obs, pixel_xy) if array_xy is None else np.asarray(array_xy, dtype=np.float64),
        pixel_xy=pixel_xy,
        microns_per_pixel=entry.microns_per_pixel or _number(stated, "microns_per_pixel"),
        spot_diameter=entry.spot_diameter or _number(stated, "spot_diameter"),
        labels=labels,
        notes=(*notes, *more),
    )


def array_positions(obs: pd.DataFrame, pixel_xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in pitches, float64 (n, 2).

    From `array_col` and `array_row` where `obs` has them: a hexagonal array of 10x counts columns by halves, so
    neighbours in
    a row differ by two. Otherwise from the pixels, in median distances to the nearest neighbour.
    """
    if {"array_col", "array_row"} <= set(obs.columns):
        column, row = (obs[name].to_numpy(dtype=np.float64) for name in ("array_col", "array_row"))
        hexagonal = bool(((column + row) % 2 == 0).all()) and len(column) > 1
        return np.column_stack([column / 2, row * _HEX_ROW]) if hexagonal else np.column_stack([column, row])
    return pixel_xy / pitch(pixel_xy) if len(pixel_xy) > 1 else np.zeros_like(pixel_xy)


def _number(stated: dict[str, object], name: str) -> float | None:
    value = stated.get(name)
    return None if value is None else float(np.asarray(value, dtype=np.float64))

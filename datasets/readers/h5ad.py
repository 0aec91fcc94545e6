"""Sections as AnnData files: counts in `X` or a layer, `obsm["spatial"]` in pixels, the image named by the card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..registry import Dataset, DatasetCard
from ..scale import Stated, from_factors, lattice, statements
from ..section import Section
from .anndata_file import open_anndata, read_coordinates, read_counts, read_part, text_columns
from .genes import add_up_duplicates, are_ensembl, refuse_duplicates, to_symbols
from .listed import Reader, open_listed, stated_image
from .placement import pitch

if TYPE_CHECKING:
    import h5py
    import pandas as pd

VERSION = 2


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
        factors = read_factors(file, where)
    labels = None
    if entry.labels is not None:
        if entry.labels not in obs:
            raise DataError(
                f"{where}: expected labels in obs column '{entry.labels}' of {path}, found "
                f"{', '.join(map(str, obs.columns))}."
            )
        labels = tuple(str(value) for value in obs[entry.labels].astype(object).fillna(""))
    array, scales = array_positions(obs, pixel_xy, factors, where)
    if (own := _number(stated, "microns_per_pixel")) is not None:
        scales = (Stated(own, "uns['qbench']", "qbench wrote it"), *scales)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=symbols,
        spots=tuple(str(name) for name in obs.index),
        array_xy=array if array_xy is None else np.asarray(array_xy, dtype=np.float64),
        pixel_xy=pixel_xy,
        spot_diameter=_number(stated, "spot_diameter"),
        labels=labels,
        notes=(*notes, *more),
        scales=scales,
    )


def read_factors(file: h5py.File, where: str) -> dict[str, Any]:
    """The scale factors of the one library in `uns["spatial"]`, as scanpy keeps them; none where there is no single one.

    Raises:
        DataError: damaged.
    """
    libraries = file.get("uns/spatial")
    names = list(libraries) if isinstance(libraries, Mapping) else []  # a group of HDF5 is one
    part = f"uns/spatial/{names[0]}/scalefactors" if len(names) == 1 else ""
    if not part or part not in file:
        return {}
    found = read_part(file, part)
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected scale factors by name in uns['spatial'], found {found!s:.40}; remove them.")
    return found


def array_positions(
    obs: pd.DataFrame, pixel_xy: NDArray[np.float64], factors: Mapping[str, Any], where: str
) -> tuple[NDArray[np.float64], tuple[Stated, ...]]:
    """Positions in pitches, float64 (n, 2), and what array and factors say of the scale.

    From `array_col` and `array_row` where `obs` has them (see `lattice`); otherwise from the pixels, in median distances to
    the nearest neighbour, which say nothing of microns.
    """
    if {"array_col", "array_row"} <= set(obs.columns):
        column, row = (obs[name].to_numpy(dtype=np.float64) for name in ("array_col", "array_row"))
        found = lattice(column, row, pixel_xy, True if "bin_size_um" in factors else None)
        return found.xy, statements(found, factors, where)
    xy = pixel_xy / pitch(pixel_xy) if len(pixel_xy) > 1 else np.zeros_like(pixel_xy)
    return xy, tuple(from_factors(factors, None, where))


def _number(stated: dict[str, object], name: str) -> float | None:
    value = stated.get(name)
    return None if value is None else float(np.asarray(value, dtype=np.float64))

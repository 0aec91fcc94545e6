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
from ..lattice import lattice
from ..registry import Dataset, DatasetCard
from ..scale import Stated, from_factors, statements
from ..section import Section
from .anndata_file import (
    library_column,
    library_rows,
    open_anndata,
    read_coordinates,
    read_counts,
    read_part,
    text_columns,
)
from .genes import named_genes
from .listed import Reader, left_out, open_listed, stated_image
from .placement import check_positions, in_pitches

if TYPE_CHECKING:
    import h5py
    import pandas as pd

VERSION = 3


def open_h5ad(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the `.h5ad` files that a card lists; errors as in `open_listed`."""
    reader = Reader(
        {"h5ad": VERSION},
        lambda entry, base: (base / entry.file,),
        lambda entry, base: read_h5ad(entry, base / entry.file),
        stated_image,
    )
    return open_listed(card, data_dir, cache, reader)


def read_h5ad(entry: SectionEntry, path: Path, everywhere: bool = False) -> Section:
    """A section from an AnnData file; `everywhere` keeps the spots that it says lie outside the tissue.

    Raises:
        DataError: normalised values where counts are due, no coordinates, genes that appear twice, an unknown layer or
            column.
    """
    where = f"Section {entry.id}"
    with open_anndata(path) as file:
        obs = read_part(file, "obs")
        mine = _rows(obs, file, entry, path)
        kept, spots_notes = (mine, ()) if everywhere else under_tissue(obs, mine, where)
        if not len(kept):
            found = f"found none of {len(mine)}" if len(mine) else "it holds no spot"
            raise DataError(f"{where}: expected spots under tissue in {path}, {found}; is it the right file?")
        counts, var = read_counts(file, kept, entry.layer, where)
        pixel_xy = read_coordinates(file, path, where)
        array_xy = read_part(file, "obsm/array") if "array" in file["obsm"] else None
        stated = dict(read_part(file, "uns/qbench")) if "uns" in file and "qbench" in file["uns"] else {}
        factors = read_factors(file, entry.library, where)
    names = [str(name) for name in var.index]
    counts, symbols, notes = named_genes(counts, names, text_columns(var), entry.symbols, where)
    spots, again = unique_names([str(name) for name in obs.index[kept]])
    labels = None
    if entry.labels is not None:
        if entry.labels not in obs:
            raise DataError(
                f"{where}: expected labels in obs column '{entry.labels}' of {path}, found "
                f"{', '.join(map(str, obs.columns))}; mend 'labels:' in the card."
            )
        labels = tuple(str(value) for value in obs[entry.labels].iloc[kept].astype(object).fillna(""))
    pixel_xy = pixel_xy[kept]
    check_positions(where, spots, pixel_xy, "position in obsm['spatial']")
    array, scales = array_positions(obs.iloc[kept], spots, pixel_xy, factors, where)
    if (own := _number(stated, "microns_per_pixel")) is not None:
        scales = (Stated(own, "uns['qbench']", "qbench wrote it"), *scales)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=symbols,
        spots=spots,
        array_xy=array if array_xy is None else np.asarray(array_xy, dtype=np.float64)[kept],
        pixel_xy=pixel_xy,
        spot_diameter=_number(stated, "spot_diameter"),
        labels=labels,
        notes=(*notes, *spots_notes, *again),
        scales=scales,
    )


def read_factors(file: h5py.File, library: str | None, where: str) -> dict[str, Any]:
    """The scale factors of a library in `uns["spatial"]`, as scanpy keeps them; without a name, of the only one there is.

    Raises:
        DataError: damaged.
    """
    libraries = file.get("uns/spatial")
    names = list(libraries) if isinstance(libraries, Mapping) else []  # a group of HDF5 is one
    name = library if library in names else names[0] if len(names) == 1 and library is None else None
    part = f"uns/spatial/{name}/scalefactors"
    if name is None or part not in file:
        return {}
    found = read_part(file, part)
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected scale factors by name in uns['spatial'], found {found!s:.40}; remove them.")
    return found


def array_positions(
    obs: pd.DataFrame,
    spots: tuple[str, ...],
    pixel_xy: NDArray[np.float64],
    factors: Mapping[str, Any],
    where: str,
) -> tuple[NDArray[np.float64], tuple[Stated, ...]]:
    """Positions in pitches, float64 (n, 2), and what array and factors say of the scale.

    From `array_col` and `array_row` where `obs` has them (see `lattice`); otherwise from the pixels, in median distances to
    the nearest neighbour, which say nothing of microns.
    """
    if {"array_col", "array_row"} <= set(obs.columns):
        column, row = (obs[name].to_numpy(dtype=np.float64) for name in ("array_col", "array_row"))
        check_positions(where, spots, np.column_stack([column, row]), "array position (array_row, array_col)")
        found = lattice(column, row, pixel_xy, True if "bin_size_um" in factors else None)
        return found.xy, statements(found, factors, where)
    return in_pitches(pixel_xy), tuple(from_factors(factors, None, where))


def _rows(obs: pd.DataFrame, file: h5py.File, entry: SectionEntry, path: Path) -> NDArray[np.intp]:
    """Rows of the section: all of them, or those of the library that the card names.

    Raises:
        DataError: several libraries and none named, or one that is not there.
    """
    libraries = library_rows(obs, file)
    if libraries is None:
        names = ", ".join(file["uns/spatial"])
        raise DataError(
            f"Section {entry.id}: uns['spatial'] of {path} names several libraries ({names}), but no column of obs says "
            "which spot is of which; add obs['library_id']."
        )
    if entry.library is None:
        if libraries:
            raise DataError(f"Section {entry.id}: {parted(path, obs, libraries)}.")
        return np.arange(len(obs))
    if entry.library not in libraries:
        raise DataError(
            f"Section {entry.id}: expected library '{entry.library}' in {path}, found "
            f"{', '.join(libraries) or 'a single one'}; mend 'library:' in the card."
        )
    return libraries[entry.library]


def parted(path: Path, obs: pd.DataFrame, libraries: dict[str, NDArray[np.intp]]) -> str:
    """What a file of several samples holds, and the line that makes one of it."""
    names, column = list(libraries), library_column(obs, libraries)
    return (
        f"{path} holds {len(names)} libraries ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}), parted by "
        f"obs['{column}']; name one in the card ('library: {names[0]}'), or write one file a library: "
        f"adata[adata.obs['{column}'] == '{names[0]}'].write_h5ad('{names[0]}.h5ad')"
    )


def under_tissue(obs: pd.DataFrame, rows: NDArray[np.intp], where: str) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """The rows that obs["in_tissue"] does not call 0, and a note on the others.

    Raises:
        DataError: a value that is neither 0 nor 1.
    """
    if "in_tissue" not in obs:
        return rows, ()
    words = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1, "nan": 1, "<na>": 1, "none": 1, "": 1}
    stated = [str(value).strip().casefold() for value in obs["in_tissue"].iloc[rows]]
    strange = next((value for value in stated if value not in words), None)
    if strange is not None:
        raise DataError(f"{where}: expected 0 or 1 in obs['in_tissue'], found '{strange}'; mend or drop the column.")
    kept = np.array([words[value] == 1 for value in stated], dtype=bool)
    return rows[kept], left_out(int((~kept).sum()))


def unique_names(names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of spots, those that are there again numbered (S, S-1, S-2) as anndata does, and a note."""
    import pandas as pd
    from anndata.utils import make_index_unique

    unique = tuple(map(str, make_index_unique(pd.Index(names))))
    again = sum(a != b for a, b in zip(names, unique, strict=True))
    return unique, ((f"{again} names of spots were there already and are numbered",) if again else ())


def _number(stated: dict[str, object], name: str) -> float | None:
    value = stated.get(name)
    return None if value is None else float(np.asarray(value, dtype=np.float64))

"""SpatialData stores (`.zarr`): spots of Visium, bins of Visium HD, and Xenium's transcripts counted in pseudo-spots.

What spatialdata-io writes is understood: a table that annotates circles or squares, with the array's rows and columns in obs,
or points of transcripts, in microns. Needs the extra `qbench-spatial[spatialdata]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..lattice import lattice
from ..registry import Dataset, DatasetCard
from ..scale import Stated, statements
from ..section import Section, whole_counts
from .anndata_file import text_columns
from .genes import named_genes
from .h5ad import under_tissue, unique_names
from .listed import Reader, open_listed
from .placement import check_positions
from .store_files import image_of, read_store, table_files, to_pixels
from .transcripts import count_in_bins
from .visium_files import BIN

VERSION = 2
PSEUDO_SPOT = 55.0  # microns, of a spot of Visium


@dataclass(frozen=True)
class Sample:
    """One sample of a store.

    Attributes:
        name: of the sample.
        tables: those that annotate its spots, by the edge of their bins in microns (None: Visium's spots).
        regions: the shapes that each annotates.
        transcripts: the points of single molecules, or None.
    """

    name: str
    tables: dict[float | None, str]
    regions: dict[float | None, str]
    transcripts: str | None = None


def open_stores(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the SpatialData stores that a card lists; errors as in `open_listed`."""
    reader = Reader(
        {"spatialdata": VERSION},
        lambda entry, base: table_files(base / entry.file),
        read_section,
        lambda entry, base: image_of(entry, base, cache),
    )
    return open_listed(card, data_dir, cache, reader)


def read_section(entry: SectionEntry, base: Path) -> Section:
    """A section from a store: its spots under tissue, bins, or pseudo-spots.

    Raises:
        DataError: a store of another kind, several samples and none named, or no bins of that edge.
    """
    where, path = f"Section {entry.id}", base / entry.file
    store = read_store(path)
    samples = {sample.name: sample for sample in find_samples_in(store, path)}
    if (entry.library is None and len(samples) > 1) or entry.library not in (None, *samples):
        raise DataError(
            f"{where}: expected one sample of {path}, found {', '.join(samples)}; name one in the card ('library: ...')."
        )
    sample = samples[entry.library] if entry.library is not None else next(iter(samples.values()))
    if sample.transcripts is not None:
        return _pseudo_spots(store, sample.transcripts, entry, where)
    size = entry.bin if entry.bin is not None or None in sample.tables else 8.0
    if size not in sample.tables:
        known = ", ".join("spots" if edge is None else f"{edge:g}" for edge in sample.tables)
        raise DataError(
            f"{where}: expected bins of {size:g} microns in {path}, found {known}; mend 'bin:' in the card."
        )
    return _spots(store, sample.tables[size], sample.regions[size], size, entry, where)


def find_samples_in(store: Any, path: Path) -> Iterator[Sample]:
    """The samples of a store.

    Raises:
        DataError: it holds neither spots of an array nor transcripts.
    """
    tables: dict[str, dict[float | None, str]] = {}
    regions: dict[str, dict[float | None, str]] = {}
    for name, table in store.tables.items():
        attributes = table.uns.get("spatialdata_attrs", {})
        if not {"array_row", "array_col"} <= set(table.obs.columns) or "region" not in attributes:
            continue
        stated = attributes["region"]
        for region in [stated] if isinstance(stated, str) else list(stated):
            match = BIN.search(region) or BIN.search(name)
            edge = None if match is None else float(match[1])
            sample = BIN.sub("", region).rstrip("_") or path.stem
            tables.setdefault(sample, {})[edge] = name
            regions.setdefault(sample, {})[edge] = region
    for sample in sorted(tables):
        yield Sample(sample, tables[sample], regions[sample])
    if not tables:
        points = [name for name, found in store.points.items() if {"x", "y", "feature_name"} <= set(found.columns)]
        if len(points) != 1:
            raise DataError(
                f"Expected spots of Visium (array_row and array_col in a table) or transcripts (points with feature_name) in "
                f"{path}, found {', '.join([*store.tables, *store.points]) or 'neither'}; write it with spatialdata-io."
            )
        yield Sample(path.stem, {}, {}, points[0])


def _spots(store: Any, table: str, region: str, edge: float | None, entry: SectionEntry, where: str) -> Section:
    data = store.tables[table]
    attributes = data.uns["spatialdata_attrs"]
    mine = np.flatnonzero((data.obs[attributes["region_key"]].astype(str) == region).to_numpy())
    kept, tissue = under_tissue(data.obs, mine, where)
    if not len(kept):
        raise DataError(
            f"{where}: expected spots under tissue in table {table}, found none of {len(mine)}; was the tissue found?"
        )
    counts, genes, notes = named_genes(
        whole_counts(data.X[kept], where),
        [str(name) for name in data.var.index],
        text_columns(data.var),
        entry.symbols,
        where,
    )
    obs = data.obs.iloc[kept]
    spots, again = unique_names([str(name) for name in obs.index])
    shapes = store.shapes[region]
    shapes = shapes.loc[obs[attributes["instance_key"]]]
    centre = shapes.geometry.centroid
    matrix = to_pixels(store, store.shapes[region], entry)
    pixel_xy = _moved(np.column_stack([centre.x, centre.y]), matrix)
    check_positions(where, spots, pixel_xy, f"position in shapes {region}")
    column, row = (obs[name].to_numpy(dtype=np.float64) for name in ("array_col", "array_row"))
    check_positions(where, spots, np.column_stack([column, row]), "array position (array_row, array_col)")
    found = lattice(column, row, pixel_xy, True if edge is not None else None)
    width = 2 * float(np.median(shapes["radius"])) * _zoom(matrix) if "radius" in shapes else None
    factors = {"bin_size_um": edge, "spot_diameter_fullres": None if edge is not None else width}
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=counts,
        genes=genes,
        spots=spots,
        array_xy=found.xy,
        pixel_xy=pixel_xy,
        spot_diameter=width,
        scales=statements(found, {name: value for name, value in factors.items() if value is not None}, where),
        notes=(*notes, *tissue, *again),
    )


def _pseudo_spots(store: Any, points: str, entry: SectionEntry, where: str) -> Section:
    edge = entry.bin or PSEUDO_SPOT
    genes = next((list(map(str, table.var.index)) for table in store.tables.values()), None)
    found = count_in_bins(store.points[points], edge, genes, where)
    matrix = to_pixels(store, store.points[points], entry)
    zoom = _zoom(matrix)
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=found.counts,
        genes=found.genes,
        spots=tuple(f"{row}x{column}" for column, row in found.bins.tolist()),
        array_xy=found.bins.astype(np.float64),
        pixel_xy=_moved((found.bins + 0.5) * edge, matrix),
        spot_diameter=edge * zoom,
        scales=(Stated(1 / zoom, "the transcripts' positions, in microns"),),
        notes=found.notes,
    )


def _moved(xy: NDArray[np.floating[Any]], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(xy @ matrix[:2, :2].T + matrix[:2, 2], dtype=np.float64)


def _zoom(matrix: NDArray[np.float64]) -> float:
    """Pixels per unit of an affine transformation."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))

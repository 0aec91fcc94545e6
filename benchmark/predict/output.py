"""Predictions as AnnData (`.h5ad`) or as a SpatialData store (`.zarr`), filled window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...datasets.target import integer_counts
from ...datasets.tissue import Overview
from ...errors import ConfigurationError
from ...files import written, written_folder
from ...leaderboard.record import PatchRecord
from ..engine.store import unwritable
from .grid import Points
from .model import FitRecord
from .parts import Parts

if TYPE_CHECKING:
    from anndata import AnnData

Form = Literal["h5ad", "zarr", "ome-tiff"]  # the last of `raster`
TABLE = "tables/predictions"  # of a store
SLIDE, SPOTS = "slide", "spots"  # a store's picture and its shapes; the slide names the entry of uns["spatial"], too
_BLOCK = 256  # points that are written at once, and a chunk of the file


def check_output(output: Path, form: Form) -> None:
    """Whether the predictions may be written there, asked before anything is predicted.

    Raises:
        ConfigurationError: a name that belongs to the other form, other files in the way, or no spatialdata.
    """
    if form == "ome-tiff":
        if output.suffix not in (".tif", ".tiff"):
            raise ConfigurationError(
                f"Expected a file such as {output.stem}.ome.tif as --output with --format ome-tiff, found {output}."
            )
        return
    if form == "h5ad":
        if output.suffix == ".zarr":
            raise ConfigurationError(f"Expected an .h5ad as --output, found {output}; add --format zarr for a store.")
        return
    if output.suffix == ".h5ad":
        raise ConfigurationError(
            f"Expected a folder such as {output.stem}.zarr as --output with --format zarr, found {output}."
        )
    if output.exists() and not (output / "zarr.json").is_file():
        raise ConfigurationError(
            f"Expected a new folder, or an earlier store, at {output}, found other files; choose another --output."
        )
    try:
        import spatialdata  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "--format zarr needs the package spatialdata; install it with: pip install 'qbench-spatial[spatialdata]'."
        ) from error


def write_output(
    output: Path,
    form: Form,
    parts: Parts,
    points: Points,
    record: FitRecord,
    small: Overview,
    about: dict[str, Any],
    window: float,
) -> int:
    """Join the windows into an `.h5ad` or a SpatialData store; returns how many counts were clipped.

    X is log1p in target space, unrounded, not below 0, float32 (spots, genes), or what converted weights give;
    layers["counts"] int64 for the target counts; obsm["spatial"] in slide pixels; uns["spatial"] holds the overview, for
    the plots of scanpy and squidpy. A store has this table, the overview as image `slide` and the spots as circles.

    Args:
        output: the file or store to write, whole or not at all.
        form: "h5ad" or "zarr".
        parts: the predictions of all windows; removed in the end.
        points: names and places, in the order of the output.
        record: of the model: panel and target.
        small: the slide made small.
        about: what was done, kept in uns["qbench"].
        window: edge of a patch in slide pixels.
    """
    diameter = float(min(window, points.step))
    table = _table(points, record, small, about, diameter)
    try:
        with (
            written(output) if form == "h5ad" else written_folder(output) as temporary,
            _h5ad(temporary, table) if form == "h5ad" else _store(temporary, table, small, diameter) as group,
        ):
            clipped = _fill(group, parts, points, record)
    except (OSError, RuntimeError) as error:
        raise unwritable(output, error) from error
    parts.remove()
    return clipped


def _table(points: Points, record: FitRecord, small: Overview, about: dict[str, Any], diameter: float) -> AnnData:
    """All but the values: spots, genes, places, and what plots ask for."""
    import anndata
    import pandas as pd

    genes = record.panel.genes
    var = pd.DataFrame(index=list(genes))
    markers = {gene for group in record.panel.markers.values() for gene in group}
    for name, chosen in (("hvg", set(record.panel.hvg)), ("heg", set(record.panel.heg)), ("mg", markers)):
        var[name] = [gene in chosen for gene in genes]
    table = anndata.AnnData(obs=pd.DataFrame({"window": points.windows}, index=list(points.names)), var=var)
    table.obsm["spatial"] = points.pixel_xy
    table.uns["qbench"] = about
    table.uns["target"] = record.target
    factors = {"tissue_hires_scalef": 1 / small.factor, "spot_diameter_fullres": diameter}
    table.uns["spatial"] = {SLIDE: {"images": {"hires": small.pixels}, "scalefactors": factors}}
    return table


@contextmanager
def _h5ad(path: Path, table: AnnData) -> Iterator[Any]:
    import h5py
    from anndata.io import write_elem

    images = table.uns["spatial"][SLIDE]["images"]
    table.uns["spatial"][SLIDE]["images"] = {}  # packed below, unlike the rest
    with h5py.File(path, "w") as file:
        write_elem(file, "/", table)
        for name, pixels in images.items():
            write_elem(file[f"uns/spatial/{SLIDE}/images"], name, pixels, dataset_kwargs=_PACKED)
        yield file


@contextmanager
def _store(path: Path, table: AnnData, small: Overview, diameter: float) -> Iterator[Any]:
    """A SpatialData store; its coordinate system `global` is in pixels of the slide."""
    import zarr
    from spatialdata import SpatialData
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Identity, Scale

    scale = Scale([small.factor, small.factor], axes=("x", "y"))
    image = Image2DModel.parse(
        small.pixels.transpose(2, 0, 1),
        dims=("c", "y", "x"),
        c_coords=["r", "g", "b"],
        transformations={"global": scale},
    )
    circles = ShapesModel.parse(
        table.obsm["spatial"],
        geometry=0,
        radius=diameter / 2,
        index=table.obs_names.to_numpy(),
        transformations={"global": Identity()},
    )
    table.obs["region"], table.obs["spot"] = SPOTS, table.obs_names.to_numpy()
    table.obs["region"] = table.obs["region"].astype("category")
    table = TableModel.parse(table, region=SPOTS, region_key="region", instance_key="spot")
    data = SpatialData(images={SLIDE: image}, shapes={SPOTS: circles}, tables={TABLE.rpartition("/")[2]: table})
    path.rmdir()  # spatialdata writes where there is nothing
    data.write(path, consolidate_metadata=False)
    yield zarr.open_group(path / TABLE, mode="r+", use_consolidated=False)
    data.write_consolidated_metadata()


def _fill(group: Any, parts: Parts, points: Points, record: FitRecord) -> int:
    shape = (len(points), len(record.panel.genes))
    values = _matrix(group, "X", shape, np.float32)
    counts = _matrix(group, "layers/counts", shape, np.int64) if record.target == "counts" else None
    clipped = 0
    for rows, prediction in parts.blocks(points, _BLOCK):
        values[rows] = prediction
        if counts is not None:
            counts[rows], over = integer_counts(prediction)
            clipped += over
    return clipped


_PACKED = {"compression": "gzip", "compression_opts": 1}


def _matrix(group: Any, name: str, shape: tuple[int, int], dtype: Any) -> Any:
    """A dense matrix as AnnData stores it, to be filled; integers are compressed in HDF5, for most of them are small."""
    import h5py

    if name in group:
        del group[name]
    chunks = (min(_BLOCK, shape[0]), shape[1])
    if isinstance(group, h5py.Group):
        packed = _PACKED if dtype == np.int64 else {}
        made = group.create_dataset(name, shape, dtype, chunks=chunks, **packed)
    else:
        made = group.create_array(name, shape=shape, dtype=dtype, chunks=chunks)  # zarr compresses by itself
    made.attrs["encoding-type"] = "array"
    made.attrs["encoding-version"] = "0.2.0"
    return made


def describe(record: FitRecord, patch: PatchRecord, scale: float | None, image: str, model: str) -> dict[str, Any]:
    """What a reader of the output must know; no path of a machine."""
    return {
        "method": record.method,
        "profile": record.profile,
        "dataset": record.dataset,
        "simulated": record.simulated,
        "target": record.target,
        "model": model,
        "image": image,
        "qbench": record.qbench,
        "patch_pixels": patch.size,
        **({"stain": patch.stain} if patch.stain != "none" else {}),
        **({"patch_microns_per_pixel": patch.microns_per_pixel} if patch.microns_per_pixel is not None else {}),
        **({"microns_per_pixel": scale} if scale is not None else {}),
    }

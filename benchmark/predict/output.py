"""Predictions as AnnData, written window by window: what is done survives a kill, and memory holds one window."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.target import integer_counts
from ...datasets.tissue import Overview
from ...leaderboard.record import PatchRecord
from ..engine.store import unwritable
from .grid import Points
from .model import FitRecord

_IDENTITY = "identity.json"
_BLOCK = 256  # points that are written at once, and a chunk of the file


class Parts:
    """Predictions of single windows beside the output, kept until it is complete; those of another task are removed."""

    def __init__(self, output: Path, identity: str) -> None:
        self.folder = output.with_name(f".{output.name}.parts")
        mark = self.folder / _IDENTITY
        if not mark.is_file() or json.loads(mark.read_text(encoding="utf-8")) != identity:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            mark.write_text(json.dumps(identity), encoding="utf-8")

    def path(self, window: int) -> Path:
        return self.folder / f"window-{window:06d}.npy"

    def save(self, window: int, values: NDArray[np.float32]) -> None:
        """Write one window's predictions, float32 (spots, genes), under a temporary name and rename."""
        temporary = self.folder / f".{window}.{os.getpid()}.npy"
        with temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path(window))

    def load(self, window: int) -> NDArray[np.float32]:
        """One window's predictions, mapped from the disk."""
        return np.load(self.path(window), mmap_mode="r", allow_pickle=False)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def write_output(
    output: Path, parts: Parts, points: Points, record: FitRecord, small: Overview, about: dict[str, Any], window: float
) -> int:
    """Join the windows into an `.h5ad`; returns how many counts were clipped.

    X is log1p in target space, unrounded, not below 0, float32 (spots, genes), or what converted weights give;
    layers["counts"] int64 for the target counts; obsm["spatial"] in slide pixels; uns["spatial"] holds the overview, for scanpy's plots.

    Args:
        about: what was done, kept in uns["qbench"]. window: edge of a patch in slide pixels.
    """
    import anndata
    import h5py
    import pandas as pd
    from anndata.io import write_elem

    genes = record.panel.genes
    var = pd.DataFrame(index=list(genes))
    markers = {gene for group in record.panel.markers.values() for gene in group}
    for name, chosen in (("hvg", set(record.panel.hvg)), ("heg", set(record.panel.heg)), ("mg", markers)):
        var[name] = [gene in chosen for gene in genes]
    skeleton = anndata.AnnData(obs=pd.DataFrame({"window": points.windows}, index=list(points.names)), var=var)
    skeleton.obsm["spatial"] = points.pixel_xy
    skeleton.uns["qbench"] = about
    skeleton.uns["target"] = record.target
    skeleton.uns["spatial"] = {
        "slide": {
            "images": {"hires": small.pixels},
            "scalefactors": {
                "tissue_hires_scalef": 1 / small.factor,
                "spot_diameter_fullres": float(min(window, points.step)),
            },
        }
    }
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    clipped = 0
    try:
        with h5py.File(temporary, "w") as file:
            write_elem(file, "/", skeleton)
            values = _matrix(file, "X", (len(points), len(genes)), np.float32)
            counts = _matrix(file, "layers/counts", values.shape, np.int64) if record.target == "counts" else None
            place = np.empty(len(points), dtype=np.intp)  # of each point in its window's part
            for number in range(int(points.windows.max()) + 1):
                rows = points.rows(number)
                place[rows] = np.arange(len(rows))
            for start in range(0, len(points), _BLOCK):
                part = slice(start, min(start + _BLOCK, len(points)))
                prediction = np.empty((part.stop - start, len(genes)), dtype=np.float32)
                for number in np.unique(points.windows[part]):
                    own = points.windows[part] == number
                    prediction[own] = parts.load(number)[place[part][own]]
                values[part] = prediction
                if counts is not None:
                    counts[part], over = integer_counts(prediction)
                    clipped += over
            file.flush()
        with temporary.open("rb") as done:
            os.fsync(done.fileno())
        temporary.replace(output)
    except OSError as error:
        raise unwritable(output, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    parts.remove()
    return clipped


def _matrix(file: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A dense matrix as AnnData stores it, to be filled; integers are compressed, for most of them are small."""
    if name in file:
        del file[name]
    packed = {"compression": "gzip", "compression_opts": 1} if dtype == np.int64 else {}
    made = file.create_dataset(name, shape, dtype, chunks=(min(_BLOCK, shape[0]), shape[1]), **packed)
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
        **({"patch_microns_per_pixel": patch.microns_per_pixel} if patch.microns_per_pixel is not None else {}),
        **({"microns_per_pixel": scale} if scale is not None else {}),
    }

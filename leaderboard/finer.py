"""Maps finer than spots on the page: what `qbench predict --resolution` made of a section's image, as small pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..hdf5_files import open_hdf5

EDGE = 200  # pixels of a picture at most; points that share one are averaged
_BLOCK = 8192  # points that are read at once


def read_finer(path: Path, genes: Sequence[str]) -> dict[str, Any]:
    """A map of some genes, JSON-able: a picture of uint8 (genes, rows, columns) as base64; 0 is beside tissue, 1 to 255 are 0 to `scale`.

    `left`, `top` and `step` are in pixels of the full-resolution image: the pictures' corner and the edge of a pixel.

    Args:
        path: the `.h5ad` of `qbench predict --resolution`.
        genes: those shown; what the map lacks is left out.

    Raises:
        DataError: no such file, or one that holds no map of any of the genes.
    """
    what, remedy = "a map of 'qbench predict --resolution'", "make it anew, with --output FILE.h5ad"
    with open_hdf5(path, what, remedy) as file:
        from anndata import io

        names = [str(name) for name in io.read_elem(file["var"]).index]
        kept = [gene for gene in genes if gene in names]
        about = io.read_elem(file["uns/qbench"])
        xy = np.asarray(file["obsm/spatial"][:], dtype=np.float64)
        step = float(file["uns/spatial/slide/scalefactors/spot_diameter_fullres"][()])
        columns = [names.index(gene) for gene in kept]
        if not kept or not len(xy) or not step > 0 or file["X"].shape != (len(xy), len(names)):
            raise DataError(
                f"Expected {what} with any of the page's genes in {path}, found none of {', '.join(genes[:3])}; name some with --genes."
            )
        low, high = xy.min(axis=0) - step / 2, xy.max(axis=0) + step / 2
        pixel = step * max(1, int(np.ceil((high - low).max() / step / EDGE)))
        column, row = np.floor((xy - low) / pixel).astype(np.intp).T
        shape = (int(row.max()) + 1, int(column.max()) + 1)
        sums = np.zeros((len(kept), shape[0] * shape[1]))
        at = row * shape[1] + column
        for start in range(0, len(xy), _BLOCK):
            block = file["X"][start : start + _BLOCK][:, columns]
            for gene, values in enumerate(block.T):
                sums[gene] += np.bincount(at[start : start + _BLOCK], values, sums.shape[1])
    many = np.bincount(at, minlength=sums.shape[1])
    packed, scale = _packed(sums / np.maximum(many, 1), many > 0)
    micron = about.get("microns_per_pixel")
    return {
        "title": str(about["method"]),
        "dataset": str(about["dataset"]),
        "resolution": f"{step * float(micron):.3g} µm" if micron else f"{step:.3g} px",
        "genes": kept,
        "scale": scale,
        "left": float(low[0]),
        "top": float(low[1]),
        "step": pixel,
        "shape": shape,
        "values": packed,
    }


def _packed(values: NDArray[np.float64], there: NDArray[np.bool_]) -> tuple[str, list[float]]:
    """Values (genes, pixels) a byte each, and what 255 is of each gene."""
    largest = np.maximum(values.max(axis=1), 1e-6)
    whole = np.where(there, 1 + np.rint(254 * np.clip(values / largest[:, None], 0, 1)), 0).astype(np.uint8)
    return base64.b64encode(whole.tobytes()).decode("ascii"), [float(f"{value:.4g}") for value in largest]

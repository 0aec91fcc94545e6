"""Maps of predicted genes over the slide, as PNG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import unknown
from ...files import written
from ...hdf5_files import open_hdf5
from ...names import path_part
from .model import read_fit
from .output import SLIDE, TABLE

DPI = 150


def check_genes(model: Path, genes: list[str]) -> None:
    """Whether a model predicts the genes that are to be drawn, asked before it predicts.

    Raises:
        ConfigurationError: a gene that its panel does not have.
        DataError: no model.
    """
    names = read_fit(model).panel.genes
    for gene in genes:
        if gene not in names:
            raise unknown("gene in the panel", gene, names)


def write_maps(predictions: Path, genes: list[str]) -> list[Path]:
    """Draw each gene's predicted log1p values over the overview; the files lie beside the predictions.

    A gene's name is in the file's name, a `/` in it as %2F (`names.name_of_part` undoes it).
    """
    from anndata.io import read_elem
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with _opened(predictions) as table:
        names = [str(name) for name in read_elem(table["var"]).index]
        about = read_elem(table["uns"])
        slide = about["spatial"][SLIDE]
        factor = float(slide["scalefactors"]["tissue_hires_scalef"])
        size = float(slide["scalefactors"]["spot_diameter_fullres"]) * factor
        xy = np.asarray(table["obsm/spatial"][:]) * factor
        pixels = slide["images"]["hires"]
        values = {gene: np.asarray(table["X"][:, names.index(gene)]) for gene in genes}
    height, width = pixels.shape[:2]
    paths = []
    for gene in genes:
        figure = Figure(figsize=(7 * width / max(width, height) + 1.2, 7 * height / max(width, height) + 0.6), dpi=DPI)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.imshow(pixels, alpha=0.5)
        points_per_pixel = 72 * 7 / max(width, height)
        shown = axes.scatter(
            xy[:, 0],
            xy[:, 1],
            c=values[gene],
            s=(size * points_per_pixel) ** 2,
            marker="s",
            cmap="viridis",
            linewidths=0,
        )
        axes.set_axis_off()
        axes.set_title(f"{gene}, predicted ({about['qbench']['method']})")
        label = "log1p counts" if about["target"] == "counts" else "log1p per 10,000"
        figure.colorbar(shown, ax=axes, label=label, shrink=0.7)
        path = predictions.with_name(f"{predictions.stem}-{path_part(gene)}.png")
        with written(path) as temporary:
            figure.savefig(temporary, format="png", bbox_inches="tight")
        paths.append(path)
    return paths


@contextmanager
def _opened(predictions: Path) -> Iterator[Any]:
    """The table of an `.h5ad` or of a store, read column by column: X may be larger than the memory."""
    if predictions.is_dir():
        import zarr

        yield zarr.open_group(predictions / TABLE, mode="r")
        return
    with open_hdf5(predictions, "predictions", "predict again") as file:
        yield file

"""Maps of predicted genes over the slide, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import unknown
from ...names import path_part

DPI = 150


def write_maps(predictions: Path, genes: list[str]) -> list[Path]:
    """Draw each gene's predicted log1p values over the overview; the files lie beside the predictions.

    Raises:
        ConfigurationError: a gene that the panel does not have.
    """
    import anndata
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data = anndata.read_h5ad(predictions, backed="r")
    try:
        names = list(data.var_names)
        for gene in genes:
            if gene not in names:
                raise unknown("gene in the panel", gene, names if len(names) < 40 else names[:20])
        slide = data.uns["spatial"]["slide"]
        factor = float(slide["scalefactors"]["tissue_hires_scalef"])
        size = float(slide["scalefactors"]["spot_diameter_fullres"]) * factor
        xy = np.asarray(data.obsm["spatial"]) * factor
        pixels = slide["images"]["hires"]
        written = []
        for gene in genes:
            values = np.asarray(data[:, gene].X).ravel()
            height, width = pixels.shape[:2]
            figure = Figure(
                figsize=(7 * width / max(width, height) + 1.2, 7 * height / max(width, height) + 0.6), dpi=DPI
            )
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            axes.imshow(pixels, alpha=0.5)
            points_per_pixel = 72 * 7 / max(width, height)
            shown = axes.scatter(
                xy[:, 0], xy[:, 1], c=values, s=(size * points_per_pixel) ** 2, marker="s", cmap="viridis", linewidths=0
            )
            axes.set_axis_off()
            axes.set_title(f"{gene}, predicted ({data.uns['qbench']['method']})")
            figure.colorbar(
                shown,
                ax=axes,
                label="log1p counts" if data.uns["target"] == "counts" else "log1p per 10,000",
                shrink=0.7,
            )
            path = predictions.with_name(f"{predictions.stem}-{path_part(gene)}.png")
            figure.savefig(path, bbox_inches="tight")
            written.append(path)
    finally:
        data.file.close()
    return written

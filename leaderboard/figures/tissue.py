"""Genes on the tissue: truth and methods side by side (Figure 3 of the QCA paper), one colour scale or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..record import Record
from ..row import Row
from ..stored import StoredPredictions, read_predictions, read_scores
from ..table import Table
from .canvas import MAP, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cell_of(row: Row, section: str, folders: Mapping[str, Path]) -> Record | None:
    """The stored cell of a row that predicts a section, its lowest seed."""
    found = [r for r in row.records if r.status == "done" and section in r.fold.test and r.cell in folders]
    return min(found, key=lambda record: record.seed, default=None)


def on_tissue(
    table: Table,
    rows: Sequence[Row],
    section: str,
    genes: Sequence[str],
    folders: Mapping[str, Path],
    scale: Literal["fixed", "own"],
) -> Figure | None:
    """A line a gene, a column for the truth and each row; None where no cell or gene of them is stored.

    A row that has no cell of this section keeps its column, empty, and says so. Predictions are unrounded.

    Args:
        table: whose target the scale is labelled with.
        rows: a column each, after the truth's.
        section: whose spots are drawn.
        genes: a line each.
        folders: of the cells, by their hash.
        scale: `fixed`: truth and methods share a gene's colour scale, so a shrunken prediction looks shrunken. `own`:
            each panel from its least to its largest value, so a right pattern of the wrong size is seen too.
    """
    cells = [cell_of(row, section, folders) for row in rows]
    stored = [None if cell is None else read_predictions(folders[cell.cell], genes) for cell in cells]
    first = next((s for s in stored if s is not None), None)
    if first is None or not first.genes:
        return None
    known, at = first.genes, first.sections == section
    titles = ["truth", *(row.title for row in rows)]
    panels = [first.truth[at], *(None if s is None else s.prediction[s.sections == section] for s in stored)]
    correlations = [{} if cell is None else _correlations(folders[cell.cell], section) for cell in cells]
    xy, radius = _positions(first, at)
    with style():
        figure = new_figure(1.9 * len(panels) + 0.7, 1.9 * len(known) + 0.5)
        grid: Any = figure.subplots(len(known), len(panels), squeeze=False)
        for i, gene in enumerate(known):
            top = max(float(values[:, i].max()) for values in panels if values is not None) or 1.0
            for j, values in enumerate(panels):
                if i == 0:
                    grid[i][j].set_title(titles[j])
                if values is None:
                    grid[i][j].text(0.5, 0.5, "no cell", transform=grid[i][j].transAxes, ha="center", va="center")
                    grid[i][j].set_axis_off()
                    continue
                own = values[:, i]
                limits = (0.0, top) if scale == "fixed" else (float(own.min()), float(own.max()) or 1.0)
                drawn = _panel(grid[i][j], xy, radius, own, limits)
                if j == 0:
                    grid[i][j].text(
                        -0.08, 0.5, gene, transform=grid[i][j].transAxes, rotation=90, va="center", ha="right"
                    )
                else:
                    r = correlations[j - 1].get(gene, 0.0)
                    grid[i][j].text(0.5, -0.02, f"PCC {r:.2f}", transform=grid[i][j].transAxes, ha="center", va="top")
                if scale == "own":
                    figure.colorbar(drawn, ax=grid[i][j], shrink=0.7, pad=0.02)
            if scale == "fixed":
                figure.colorbar(drawn, ax=list(grid[i]), shrink=0.7, pad=0.02)
        kind = "one scale a gene" if scale == "fixed" else "each panel its own scale"
        figure.suptitle(f"{section}: {table.protocol.target} target, log1p, {kind}", fontsize=10)
    return figure


def _correlations(folder: Path, section: str) -> dict[str, float]:
    """Gene -> PCC of the unrounded prediction, which is what is drawn."""
    scores = read_scores(folder, ["level", "section", "gene", "pcc_unrounded"])
    scores = scores[(scores["level"] == "section") & (scores["section"] == section)]
    return dict(zip(scores["gene"], scores["pcc_unrounded"].tolist(), strict=True))


def _panel(
    axes: Any, xy: NDArray[np.float64], radius: float, values: NDArray[np.float32], limits: tuple[float, float]
) -> Any:
    from matplotlib.collections import EllipseCollection

    spots = EllipseCollection(
        [2 * radius], [2 * radius], [0], units="xy", offsets=xy, offset_transform=axes.transData, cmap=MAP, linewidths=0
    )
    spots.set_array(values)
    spots.set_clim(*limits)
    axes.add_collection(spots)
    axes.set_xlim(xy[:, 0].min() - 2 * radius, xy[:, 0].max() + 2 * radius)
    axes.set_ylim(xy[:, 1].max() + 2 * radius, xy[:, 1].min() - 2 * radius)  # row 0 of an image is on top
    axes.set_aspect("equal")
    axes.set_axis_off()
    return spots


def _positions(stored: StoredPredictions, at: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Spots of a section, and a radius of 42 % of the usual distance between neighbours."""
    from scipy.spatial import cKDTree

    xy = (stored.array_xy if stored.pixel_xy is None else stored.pixel_xy)[at].astype(np.float64)
    if len(xy) < 2:
        return xy, 0.42
    nearest = cKDTree(xy).query(xy, k=2)[0][:, 1]
    return xy, 0.42 * float(np.median(nearest))

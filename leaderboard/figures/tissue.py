"""Genes on the tissue: truth and methods side by side (Figure 3 of the QCA paper), one colour scale or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..record import Record
from ..stored import StoredPredictions, read_predictions, read_scores
from ..table import Row, Table
from .canvas import MAP, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cells_of(table: Table, rows: Sequence[Row], section: str, folders: Mapping[str, Path]) -> list[tuple[Row, Record]]:
    """The stored cell of each row that predicts a section, its lowest seed; rows without one are left out."""
    out = []
    for row in rows:
        found = [r for r in row.records if r.status == "done" and section in r.fold.test and r.cell in folders]
        if found:
            out.append((row, min(found, key=lambda record: record.seed)))
    return out


def on_tissue(
    table: Table,
    rows: Sequence[Row],
    section: str,
    genes: Sequence[str],
    folders: Mapping[str, Path],
    scale: Literal["fixed", "own"],
) -> Figure | None:
    """A line a gene, a column for the truth and each row; None where no cell or gene of them is stored.

    `fixed`: truth and methods share a gene's colour scale, so a shrunken prediction looks shrunken. `own`: each panel
    from its least to its largest value, so a right pattern of the wrong size is seen too. Predictions are unrounded.
    """
    cells = cells_of(table, rows, section, folders)
    stored = [read_predictions(folders[record.cell], genes) for _, record in cells]
    if not stored or not stored[0].genes:
        return None
    known, at = stored[0].genes, stored[0].sections == section
    titles = ["truth", *(row.title for row, _ in cells)]
    panels = [stored[0].truth[at], *(s.prediction[s.sections == section] for s in stored)]
    correlations = [_correlations(folders[record.cell], section) for _, record in cells]
    xy, radius = _positions(stored[0], at)
    with style():
        figure = new_figure(1.9 * len(panels) + 0.7, 1.9 * len(known) + 0.5)
        grid: Any = figure.subplots(len(known), len(panels), squeeze=False)
        for i, gene in enumerate(known):
            top = max(float(values[:, i].max()) for values in panels) or 1.0
            for j, values in enumerate(panels):
                own = values[:, i]
                limits = (0.0, top) if scale == "fixed" else (float(own.min()), float(own.max()) or 1.0)
                drawn = _panel(grid[i][j], xy, radius, own, limits)
                if i == 0:
                    grid[i][j].set_title(titles[j])
                if j == 0:
                    grid[i][j].text(
                        -0.08, 0.5, gene, transform=grid[i][j].transAxes, rotation=90, va="center", ha="right"
                    )
                else:
                    r = correlations[j - 1].get(gene, 0.0)
                    grid[i][j].text(0.5, -0.02, f"PCC {r:.2f}", transform=grid[i][j].transAxes, ha="center", va="top")
                if scale == "own" or j == len(panels) - 1:
                    figure.colorbar(drawn, ax=grid[i][j] if scale == "own" else list(grid[i]), shrink=0.7, pad=0.02)
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

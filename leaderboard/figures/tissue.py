"""Genes on the tissue: truth and methods side by side (Figure 3 of the QCA paper), one colour scale or one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Maps:
    """A section's genes, panel by panel: the truth, then a row each.

    Attributes:
        genes: a line each.
        titles: of the panels.
        panels: float32 (spots, genes) in log1p, or None where a row has no cell of the section.
        correlations: of each panel, gene -> PCC; empty for the truth.
        xy: (spots, 2), in pixels of the image where it is known.
        radius: of a spot as it is drawn, in the unit of `xy`.
    """

    genes: tuple[str, ...]
    titles: tuple[str, ...]
    panels: tuple[NDArray[np.float32] | None, ...]
    correlations: tuple[Mapping[str, float], ...]
    xy: NDArray[np.float64]
    radius: float


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
    maps = read_maps(rows, section, genes, folders)
    if maps is None:
        return None
    with style():
        figure = new_figure(1.9 * len(maps.titles) + 0.7, 1.9 * len(maps.genes) + 0.5)
        draw_maps(figure.subplots(len(maps.genes), len(maps.titles), squeeze=False), maps, scale)
        kind = "one scale a gene" if scale == "fixed" else "each panel its own scale"
        figure.suptitle(f"{section}: {table.protocol.target} target, log1p, {kind}", fontsize=10)
    return figure


def read_maps(rows: Sequence[Row], section: str, genes: Sequence[str], folders: Mapping[str, Path]) -> Maps | None:
    """Truth and what each row predicts of a section; None where no cell of it, or none of the genes, is stored."""
    cells = [cell_of(row, section, folders) for row in rows]
    stored = [None if cell is None else read_predictions(folders[cell.cell], genes) for cell in cells]
    first = next((s for s in stored if s is not None), None)
    if first is None or not first.genes:
        return None
    at = first.sections == section
    xy, radius = _positions(first, at)
    return Maps(
        first.genes,
        ("truth", *(row.title for row in rows)),
        (first.truth[at], *(None if s is None else s.prediction[s.sections == section] for s in stored)),
        ({}, *({} if cell is None else _correlations(folders[cell.cell], section) for cell in cells)),
        xy,
        radius,
    )


def draw_maps(grid: Any, maps: Maps, scale: Literal["fixed", "own"]) -> None:
    """Draw on an array of axes (genes, panels); each line has a colour bar, or each panel where the scale is its own."""
    for i, gene in enumerate(maps.genes):
        top = max(float(values[:, i].max()) for values in maps.panels if values is not None) or 1.0
        for j, values in enumerate(maps.panels):
            axes = grid[i][j]
            if i == 0:
                axes.set_title(maps.titles[j])
            if values is None:
                axes.text(0.5, 0.5, "no cell", transform=axes.transAxes, ha="center", va="center")
                axes.set_axis_off()
                continue
            own = values[:, i]
            limits = (0.0, top) if scale == "fixed" else (float(own.min()), float(own.max()) or 1.0)
            drawn = _panel(axes, maps.xy, maps.radius, own, limits)
            if j == 0:
                axes.text(-0.08, 0.5, gene, transform=axes.transAxes, rotation=90, va="center", ha="right")
            else:
                r = maps.correlations[j].get(gene, 0.0)
                axes.text(0.5, -0.02, f"PCC {r:.2f}", transform=axes.transAxes, ha="center", va="top")
            if scale == "own":
                axes.figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02)
        if scale == "fixed":
            grid[i][0].figure.colorbar(drawn, ax=list(grid[i]), shrink=0.7, pad=0.02)


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

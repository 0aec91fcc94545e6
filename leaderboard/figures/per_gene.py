"""Distribution over genes of each method's PCC, with the counting-noise ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compare import gene_means
from ..row import Row
from ..table import Table
from .canvas import TRUTH, colour, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def per_gene(table: Table, rows: Sequence[Row], folders: Mapping[str, Path]) -> Figure | None:
    """A violin a row over all genes of the panels, with median and quartiles; HVG as pale dots. None without scores."""
    found = [(row, gene_means(row, folders)) for row in rows]
    found = [(row, means) for row, means in found if means]
    if not found:
        return None
    hvg = {gene for row, _ in found for record in row.records for gene in record.panel.get("hvg", ())}
    rng = np.random.default_rng(0)
    ceiling = None if table.ceiling is None else np.array(list(table.ceiling.by_gene.values()))
    with style():
        columns = len(found) + (ceiling is not None)
        figure = new_figure(max(4.0, 0.95 * columns + 1.2), 3.6)
        axes: Any = figure.subplots()
        series = [(row.title, np.array(list(means.values())), means) for row, means in found]
        for i, (_, values, means) in enumerate(series):
            _violin(axes, i, values, colour(i))
            dots = np.array([value for gene, value in means.items() if gene in hvg])
            axes.scatter(i + rng.uniform(-0.1, 0.1, len(dots)), dots, s=3, color="#222222", alpha=0.35, linewidths=0)
        if ceiling is not None:
            _violin(axes, len(series), ceiling, TRUTH)
        names = [title for title, _, _ in series] + (["ceiling"] if ceiling is not None else [])
        axes.set_xticks(
            range(columns), names, rotation=20 if columns > 5 else 0, ha="right" if columns > 5 else "center"
        )
        axes.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
        axes.set(ylabel="PCC of a gene", title=f"{table.title}\nall panel genes; dots: HVG")
    return figure


def _violin(axes: Any, at: int, values: np.ndarray, shade: str) -> None:
    if values.std() > 0:
        for body in axes.violinplot(values, [at], widths=0.8, showextrema=False)["bodies"]:
            body.set(facecolor=shade, alpha=0.35, linewidth=0)
    low, middle, high = np.percentile(values, [25, 50, 75])
    axes.plot([at, at], [low, high], color=shade, lw=3, solid_capstyle="butt")
    axes.plot([at - 0.12, at + 0.12], [middle, middle], color=shade, lw=2)

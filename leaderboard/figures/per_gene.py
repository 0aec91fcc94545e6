"""Distribution over genes of each method's PCC, with the counting-noise ceiling."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compare import gene_means
from ..row import Row
from ..table import Table
from .canvas import TRUTH, colour, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CEILING = "ceiling"  # the name of its violin


@dataclass(frozen=True)
class Violin:
    """A distribution over genes: its name, gene -> PCC, and the genes drawn as dots."""

    name: str
    by_gene: Mapping[str, float]
    dots: Collection[str]


def per_gene(table: Table, rows: Sequence[Row], folders: Mapping[str, Path]) -> Figure | None:
    """A violin a row over all genes of the panels, with median and quartiles; HVG as pale dots. None without scores."""
    found = pcc_by_gene(table, rows, folders)
    if not found:
        return None
    with style():
        figure = new_figure(max(4.0, 0.95 * len(found) + 1.2), 3.6)
        axes: Any = figure.subplots()
        draw_violins(axes, found)
        axes.set_title(f"{table.title}\nall panel genes; dots: HVG")
    return figure


def pcc_by_gene(table: Table, rows: Sequence[Row], folders: Mapping[str, Path]) -> list[Violin]:
    """A violin a row that has stored scores, and last the ceiling's where the table has one; empty without scores."""
    means = [(row, gene_means(row, folders)) for row in rows]
    means = [(row, by_gene) for row, by_gene in means if by_gene]
    hvg = {gene for row, _ in means for record in row.records for gene in record.panel.get("hvg", ())}
    found = [Violin(row.title, by_gene, hvg) for row, by_gene in means]
    if found and table.ceiling is not None:
        found.append(Violin(CEILING, table.ceiling.by_gene, ()))
    return found


def draw_violins(axes: Any, found: Sequence[Violin]) -> None:
    """Draw distributions over genes side by side on axes."""
    rng = np.random.default_rng(0)
    for i, violin in enumerate(found):
        _violin(axes, i, np.array(list(violin.by_gene.values())), TRUTH if violin.name == CEILING else colour(i))
        dots = np.array([value for gene, value in violin.by_gene.items() if gene in violin.dots])
        axes.scatter(i + rng.uniform(-0.1, 0.1, len(dots)), dots, s=3, color="#222222", alpha=0.35, linewidths=0)
    slant = {"rotation": 20, "ha": "right"} if len(found) > 5 or any(len(violin.name) > 14 for violin in found) else {}
    axes.set_xticks(range(len(found)), [violin.name for violin in found], **slant)
    axes.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
    axes.set_ylabel("PCC of a gene")


def _violin(axes: Any, at: int, values: np.ndarray, shade: str) -> None:
    if values.std() > 0:
        for body in axes.violinplot(values, [at], widths=0.8, showextrema=False)["bodies"]:
            body.set(facecolor=shade, alpha=0.35, linewidth=0)
    low, middle, high = np.percentile(values, [25, 50, 75])
    axes.plot([at, at], [low, high], color=shade, lw=3, solid_capstyle="butt")
    axes.plot([at - 0.12, at + 0.12], [middle, middle], color=shade, lw=2)

"""The readings of a method as heat maps: what each costs on validation, and which of the paper's claims hold under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import MAP, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cell:
    """A square: its row and column, its value (None = not measured) and what is written in it."""

    row: str
    column: str
    value: float | None
    shown: str


def draw_readings(effects: Sequence[Sequence[Cell]], claims: Sequence[Sequence[Cell]], title: str) -> Figure:
    """Left a row a point with a square a reading, darker the farther above the best; right a row a claim of the paper.

    Args:
        effects: rows of squares, of different lengths; value >= 0, smaller is better.
        claims: rows of squares under the same columns; value the share of patients that agree, 0 to 1. May be empty.
        title: above both; see `sweep.readings_report.title`.
    """
    widest = max(len(row) for row in effects)
    columns = len(claims[0]) if claims else 0
    with style():
        height = 0.42 * max(len(effects), len(claims)) + 1.6
        drawn = new_figure(1.55 * widest + 2.2 + (0.62 * columns + 4.2 if claims else 0.0), height)
        drawn.suptitle(title, fontsize=9.5)
        ratios = [1.55 * widest + 1.2, 0.62 * columns + 1.4]
        grid: Any = drawn.subplots(1, 2 if claims else 1, squeeze=False, width_ratios=ratios if claims else None)[0]
        known = [cell.value for row in effects for cell in row if cell.value is not None]
        # One reading that diverges would leave one colour for the rest.
        top = max(float(np.quantile(known, 0.9)) if known else 0.0, 1e-9)
        _squares(drawn, grid[0], effects, (0.0, top), f"{MAP}_r", "median validation figure above the best")
        grid[0].set_xticks([])
        grid[0].set_title("readings (* default)")
        if claims:
            _squares(drawn, grid[1], claims, (0.0, 1.0), "RdBu", "share of patients that agree")
            grid[1].set_xticks(range(columns), [cell.column for cell in claims[0]], rotation=40, ha="right")
            grid[1].set_title("the paper's claims on test sides (mean gap)")
    return drawn


def _squares(
    drawn: Figure, axes: Any, rows: Sequence[Sequence[Cell]], limits: tuple[float, float], colours: str, label: str
) -> None:
    values = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            values[i, j] = np.nan if cell.value is None else cell.value
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            axes.text(j, i, cell.shown, ha="center", va="center", fontsize=6, color=_ink(image, cell.value))
    axes.set_yticks(range(len(rows)), [row[0].row for row in rows], fontsize=7)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    drawn.colorbar(image, ax=axes, label=label, shrink=0.6, pad=0.02)


def _ink(image: Any, value: float | None) -> str:
    """Black on light squares, white on dark ones."""
    if value is None:
        return "black"
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"

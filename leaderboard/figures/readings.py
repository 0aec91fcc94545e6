"""The readings of a method as heat maps: what each costs on validation, and which of the paper's claims hold under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import MAP, new_figure, style
from .squares import Square, draw_squares

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_readings(effects: Sequence[Sequence[Square]], claims: Sequence[Sequence[Square]], title: str) -> Figure:
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
        # From the least one on, and one reading that diverges would leave one colour for the rest.
        low, top = (min(known), float(np.quantile(known, 0.9))) if known else (0.0, 0.0)
        shown = (low, max(top, low + 1e-9))
        draw_squares(grid[0], effects, "median validation figure above the best", shown, f"{MAP}_r", size=6)
        grid[0].tick_params(axis="y", labelsize=7)
        grid[0].set_xticks([])
        grid[0].set_title("readings (* default)")
        if claims:
            draw_squares(grid[1], claims, "share of patients that agree", (0.0, 1.0), "RdBu", size=6)
            grid[1].tick_params(axis="y", labelsize=7)
            grid[1].set_xticks(range(columns), [cell.column for cell in claims[0]], rotation=40, ha="right")
            grid[1].set_title("the paper's claims on test sides (mean gap)")
    return drawn

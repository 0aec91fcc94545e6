"""A heat map: rows of squares, each with what is written in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .canvas import MAP


@dataclass(frozen=True)
class Square:
    """One square: its row and column, its value (None = not measured) and what is written in it."""

    row: str
    column: str
    value: float | None
    shown: str


def draw_squares(
    axes: Any,
    rows: Sequence[Sequence[Square]],
    label: str,
    limits: tuple[float | None, float | None] = (None, None),
    colours: str = MAP,
    size: float = 8,
) -> None:
    """Draw rows of squares, of different lengths, on axes, with a colour bar; a row is named as its first square says.

    Args:
        axes: to draw on.
        rows: from the top, not empty.
        label: of the colour bar.
        limits: of the colours; None is the least or largest value.
        colours: a colour map's name.
        size: of the text in squares, in points.
    """
    values = np.full((len(rows), max(len(row) for row in rows)), np.nan)
    for i, row in enumerate(rows):
        for j, square in enumerate(row):
            values[i, j] = np.nan if square.value is None else square.value
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for i, row in enumerate(rows):
        for j, square in enumerate(row):
            axes.text(j, i, square.shown, ha="center", va="center", fontsize=size, color=_ink(image, square.value))
    longest = max(rows, key=len)
    axes.set_xticks(range(len(longest)), [square.column for square in longest], rotation=20, ha="right")
    axes.set_yticks(range(len(rows)), [row[0].row for row in rows])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.6, pad=0.02)


def _ink(image: Any, value: float | None) -> str:
    """Black on light squares, white on dark ones."""
    if value is None:
        return "black"
    red, green, blue, _ = image.cmap(image.norm(value))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"

"""Rows of a table as dots: a figure's mean with its interval, patients pale; by patient; and method by encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..columns import number
from ..encoder_axis import grid
from ..row import Row
from ..table import Table
from .canvas import MAP, colour, new_figure, style
from .squares import Square, draw_squares

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"pcc_mg": "PCC MG", "pcc_hvg": "PCC HVG", "pcc_heg": "PCC HEG", "pcc_all": "PCC all", "mse": "MSE"}


def board(table: Table, rows: Sequence[Row], figure: str) -> Figure | None:
    """The rows in their order, best above; None where none has the figure."""
    rows = having(rows, figure)
    if not rows:
        return None
    with style():
        drawn = new_figure(5.6, 0.3 * len(rows) + 1.2)
        draw_dots(drawn.subplots(), table, rows, figure)
        drawn.suptitle(table.title, fontsize=8)
    return drawn


def patients(table: Table, rows: Sequence[Row], figure: str) -> Figure | None:
    """A strip a patient; None where fewer than two patients have the figure."""
    rows = having(rows, figure)
    if len({patient for row in rows for patient in row.by_patient[figure]}) < 2:
        return None
    with style():
        drawn = new_figure(5.6, 0.3 * len(rows) + 1.6)
        draw_patients(drawn.subplots(), rows, figure)
        drawn.suptitle(table.title, fontsize=8)
    return drawn


def by_encoder(table: Table, rows: Sequence[Row], figure: str) -> Figure | None:
    """Method down, encoder across; None for fewer than two encoders."""
    found = encoder_squares(rows, figure)
    if found is None:
        return None
    with style():
        drawn = new_figure(1.1 * len(found[0]) + 2.4, 0.42 * len(found) + 1.4)
        draw_squares(drawn.subplots(), found, name_of(figure), colours=f"{MAP}_r" if figure.startswith("mse") else MAP)
        drawn.suptitle(table.title, fontsize=8)
    return drawn


def having(rows: Sequence[Row], figure: str) -> list[Row]:
    """The rows that have a mean of the figure."""
    return [row for row in rows if row.figure(figure).mean is not None]


def name_of(figure: str) -> str:
    """What an axis calls a figure."""
    return NAMES.get(figure, figure.replace("_", " "))


def draw_dots(axes: Any, table: Table, rows: Sequence[Row], figure: str, named: bool = True) -> None:
    """A line a row: its mean, its 95 % interval over patients where the table has one of this figure, patients pale."""
    for i, row in enumerate(rows):
        values = list(row.by_patient.get(figure, {}).values())
        axes.scatter(values, [i] * len(values), s=12, color="#999999", alpha=0.6, linewidths=0)
        interval = table.analysis.of(row).interval if figure == table.analysis.figure else None
        if interval is not None:
            axes.plot(interval, [i, i], color=colour(0), lw=1.8, solid_capstyle="butt", zorder=2)
        mean = row.figure(figure).mean
        if mean is not None:
            axes.scatter([mean], [i], s=42, color=colour(0), zorder=3)
            axes.annotate(number(mean), (mean, i), (0, 6), textcoords="offset points", ha="center", fontsize=7.5)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    if named:
        axes.set_xlabel(f"{name_of(figure)}: mean over patients, patients grey")
    else:
        axes.set_title(name_of(figure))
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)


def draw_patients(axes: Any, rows: Sequence[Row], figure: str) -> None:
    """A line a row, a coloured dot a patient: who is hard for all, and on whom a gap rests."""
    names = sorted({patient for row in rows for patient in row.by_patient.get(figure, {})})
    for k, patient in enumerate(names):
        known = [
            (row.by_patient[figure][patient], i) for i, row in enumerate(rows) if patient in row.by_patient[figure]
        ]
        axes.plot(*zip(*known, strict=True), "o-", color=colour(k), ms=4.5, lw=0.8, alpha=0.85, label=patient)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"{name_of(figure)} of a patient")
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.legend(title="patient", loc="center left", bbox_to_anchor=(1.0, 0.5))


def encoder_squares(rows: Sequence[Row], figure: str) -> list[list[Square]] | None:
    """Rows of squares, a method each, an encoder a column, each axis from the best; None for fewer than two encoders."""
    found = grid(rows, figure)
    if found is None:
        return None
    return [
        [_square(found.rows.get((line, encoder)), line, encoder, figure) for encoder in found.encoders]
        for line in found.lines
    ]


def _square(row: Row | None, line: str, encoder: str, figure: str) -> Square:
    value = None if row is None else row.figure(figure).mean
    return Square(line, encoder, value, number(value))

"""One method under several settings: an ablation's rows side by side, and a parameter's sweep as a line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..row import HEADLINE, Row
from ..table import Table
from .canvas import colour, new_figure, style
from .rows import NAMES, draw_dots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ablations(table: Table) -> dict[str, Figure]:
    """Method -> a panel a figure: a line of dots a setting, patients pale; methods with two complete rows or more."""
    return {f"ablation-{name}": _dots(name, table, rows) for name, rows in _families(table).items()}


def sweeps(table: Table) -> dict[str, Figure]:
    """By "method-parameter" a figure against a numeric parameter, for three values or more, all else at its default."""
    out = {}
    for name, rows in _families(table).items():
        for parameter in sorted({key for row in rows for key in row.settings}):
            points = _points(rows, parameter)
            if len(points) >= 3:
                out[f"sweep-{name}-{parameter}"] = _line(name, parameter, points)
    return out


def _families(table: Table) -> dict[str, list[Row]]:
    families: dict[str, list[Row]] = defaultdict(list)
    for row in table.rows:
        if row.complete and any(row.figure(name).mean is not None for name in HEADLINE):
            families[row.name].append(row)
    return {name: rows for name, rows in families.items() if len(rows) > 1}


def _points(rows: Sequence[Row], parameter: str) -> list[tuple[float, Row]]:
    """Rows that differ from the default in this parameter only, and the default row, by the parameter's value."""
    points: dict[float, Row] = {}
    for row in rows:
        value = row.records[0].method.parameters.get(parameter)
        if set(row.settings) <= {parameter} and isinstance(value, int | float) and not isinstance(value, bool):
            points.setdefault(float(value), row)
    return sorted(points.items())


def _dots(name: str, table: Table, rows: Sequence[Row]) -> Figure:
    figures = [figure for figure in HEADLINE if any(row.figure(figure).mean is not None for row in rows)]
    with style():
        drawn = new_figure(2.1 * len(figures) + 1.6, 0.34 * len(rows) + 1.1)
        grid: Any = drawn.subplots(1, len(figures), sharey=True, squeeze=False)[0]
        for axes, figure in zip(grid, figures, strict=True):
            draw_dots(axes, table, rows, figure, named=False)
        drawn.suptitle(f"{name}: mean over patients (blue), patients (grey)", fontsize=9.5)
    return drawn


def _line(name: str, parameter: str, points: Sequence[tuple[float, Row]]) -> Figure:
    values = np.array([value for value, _ in points])
    figures = [figure for figure in HEADLINE if all(row.figure(figure).mean is not None for _, row in points)]
    with style():
        drawn = new_figure(2.4 * len(figures) + 0.4, 2.5)
        grid: Any = drawn.subplots(1, max(1, len(figures)), squeeze=False)[0]
        for axes, figure in zip(grid, figures, strict=False):
            for patient in sorted({p for _, row in points for p in row.by_patient.get(figure, {})}):
                line = [row.by_patient.get(figure, {}).get(patient, np.nan) for _, row in points]
                axes.plot(values, line, color="#bbbbbb", lw=0.9)
            axes.plot(values, [row.figure(figure).mean for _, row in points], "o-", color=colour(0), lw=1.8, ms=4.5)
            axes.set(title=NAMES[figure], xlabel=parameter)
            if (values > 0).all() and values.max() / values.min() >= 30:
                axes.set_xscale("log")
        drawn.suptitle(f"{name}: mean over patients (blue), patients (grey)", fontsize=9.5)
    return drawn

"""Plots of a sweep, as PNG and SVG: how the validation figure depends on each parameter, and parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...files import written
from ...methods.dashes import dashed
from .space import Axis, Space
from .trial_files import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")


def draw_plots(folder: Path, results: Sequence[TrialResult], space: Space, select: str) -> None:
    """Write sensitivity and parallel in every format; trials without a figure are left out."""
    import matplotlib as mpl

    known = [result for result in results if result.figure(select) is not None]
    if not known:
        return
    # A fixed salt and no date: the same sweep gives the same file.
    with mpl.rc_context({"svg.hashsalt": "qbench", "font.size": 8}):
        for name, draw in (("sensitivity", _sensitivity), ("parallel", _parallel)):
            figure = draw(known, space, select)
            for ending in FORMATS:
                metadata: dict[str, Any] = {"Date": None} if ending == "svg" else {"Software": None}
                with written(folder / f"{name}.{ending}") as temporary:
                    figure.savefig(temporary, format=ending, dpi=150, bbox_inches="tight", metadata=metadata)


def excess(results: Sequence[TrialResult], select: str) -> NDArray[np.float64]:
    """Each trial's figure above the best of its fold (0 is the best), since folds differ in how hard they are."""
    figures = np.array([result.figure(select) for result in results], dtype=np.float64)
    folds = np.array([result.fold for result in results])
    best = {fold: figures[folds == fold].min() for fold in np.unique(folds)}
    above: NDArray[np.float64] = figures - np.array([best[fold] for fold in folds])
    return above


def positions(values: Sequence[Any], axis: Axis) -> tuple[NDArray[np.float64], list[str] | None]:
    """Where values stand on an axis: as they are, or by their place among the choices, whose names come along."""
    if axis.choice is None:
        return np.array(values, dtype=np.float64), None
    written = [_written(choice) for choice in axis.choice]
    # The method's own values are JSON, those of the file are as written there: 8-5-5-5 is [8, 5, 5, 5].
    places = [written.index(_written(value)) for value in values]
    return np.array(places, dtype=np.float64), written


def _written(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else str(dashed(value))


def _sensitivity(results: Sequence[TrialResult], space: Space, select: str) -> Figure:
    """A panel a parameter: its value against the figure above the fold's best; colour says the fold."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    above = excess(results, select)
    folds = sorted({result.fold for result in results})
    names = list(space.parameters)
    figure = Figure(figsize=(2.2 * len(names), 2.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for panel, name in zip(panels, names, strict=True):
        axis = space.parameters[name]
        x, ticks = positions([result.settings[name] for result in results], axis)
        for i, fold in enumerate(folds):
            # Beside each other on a choice; folds have run the same points.
            shift = 0.0 if ticks is None else 0.6 * ((i + 0.5) / len(folds) - 0.5)
            for status, marker in (("finished", "o"), ("stopped", "x")):
                own = np.array([r.fold == fold and r.status == status for r in results])
                label = f"fold {fold}" if status == "finished" and panel is panels[-1] else None
                panel.scatter(
                    x[own] + shift,
                    above[own],
                    s=14,
                    marker=marker,
                    color=colormaps["tab10"](i % 10),
                    label=label,
                    alpha=0.8,
                )
        if ticks is not None:
            panel.set_xticks(range(len(ticks)), ticks, rotation=40, ha="right")
            panel.set_xlim(-0.5, len(ticks) - 0.5)
        elif axis.loguniform is not None:
            low, high = axis.ends
            panel.set_xscale("log")
            panel.minorticks_off()
            marks = [low, float(np.sqrt(low * high)), high]
            panel.set_xticks(marks, [f"{mark:.2g}" for mark in marks])
        panel.set_title(name, fontsize=8)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"validation {select.upper()}, {'above' if select == 'mse' else 'below'} the fold's best")
    panels[-1].legend(fontsize=6, loc="upper left", bbox_to_anchor=(1, 1), title="× stopped early", title_fontsize=6)
    return figure


def _parallel(results: Sequence[TrialResult], space: Space, select: str) -> Figure:
    """A line a point over one axis a parameter, coloured by its figure above the fold's best, mean over folds."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    by_fold = excess(results, select)
    numbers = np.array([result.number for result in results])
    first = {number: i for i, number in reversed(list(enumerate(numbers.tolist())))}
    above = np.array([by_fold[numbers == number].mean() for number in first])
    results = [results[i] for i in first.values()]
    # The worst tenth is often far off (a run that diverged), and would leave one colour for the rest.
    scale = Normalize(0.0, max(float(np.quantile(above, 0.9)), 1e-12))
    names = list(space.parameters)
    columns = []
    figure = Figure(figsize=(1.6 * (len(names) + 1), 3.2), layout="constrained")
    panel = figure.subplots()
    for place, name in enumerate(names):
        axis = space.parameters[name]
        x, ticks = positions([result.settings[name] for result in results], axis)
        if ticks is None:
            low, high = axis.ends
            x = np.log(x / low) / np.log(high / low) if axis.loguniform is not None else (x - low) / (high - low)
            shown = [(0.0, f"{low:g}"), (1.0, f"{high:g}")]
        else:
            span = max(len(ticks) - 1, 1)
            x = x / span
            shown = [(i / span, tick) for i, tick in enumerate(ticks)]
        for height, text in shown:
            panel.annotate(text, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=6, va="center")
        panel.axvline(place, color="0.6", lw=0.8)
        columns.append(x)
    lines = np.stack(columns, axis=1)
    colours = colormaps["viridis_r"](scale(above))
    for i in np.argsort(-above):  # the best on top
        panel.plot(range(len(names)), lines[i], color=colours[i], lw=0.9, alpha=0.8)
    panel.set_xticks(range(len(names)), names)
    panel.set_yticks([])
    panel.set_ylim(-0.05, 1.05)
    bar = figure.colorbar(ScalarMappable(scale, "viridis_r"), ax=panel, pad=0.08)
    bar.set_label(f"validation {select.upper()}, {'above' if select == 'mse' else 'below'} the fold's best")
    return figure

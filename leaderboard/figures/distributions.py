"""Distribution of one gene's counts and of their log1p, truth beside methods (Figure 1 of the QCA paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..row import Row
from ..stored import read_predictions
from ..table import Table
from .canvas import TRUTH, colour, hatch, new_figure, stroke, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_gene(table: Table, rows: Sequence[Row], gene: str, folders: Mapping[str, Path]) -> Figure | None:
    """Left: share of spots by integer count. Right: the same in log1p, unrounded, as curves of cumulative share.

    All test spots of all folds, the lowest seed of each row. None where the gene is not stored. Only the `counts` target
    has counts; for `proportion` the left panel is left out.
    """
    found = {row.title: _prediction(row, gene, folders) for row in rows}
    values = {title: pair for title, pair in found.items() if len(pair[0])}
    if not values:
        return None
    truth = max((pair[1] for pair in values.values()), key=len)  # of a row that has all folds, if one has
    counts = table.protocol.target == "counts"
    with style():
        figure = new_figure(8.0 if counts else 4.4, 3.2)
        axes: Any = figure.subplots(1, 2 if counts else 1, squeeze=False)[0]
        if counts:
            _bars(axes[0], {"truth": truth, **{t: v[0] for t, v in values.items()}})
            axes[0].set(xlabel=f"{gene}, count", ylabel="share of spots")
        last = axes[-1]
        for i, (title, pair) in enumerate({"truth": (truth, truth), **values}.items()):
            ordered = np.sort(pair[0])
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            line = {"color": TRUTH, "lw": 2.2} if title == "truth" else {**stroke(i - 1), "lw": 1.5}
            last.step(ordered, share, where="post", label=title, **line)
        for title in [title for title in found if title not in values]:
            last.plot([], [], " ", label=f"{title} (none stored)")
        last.set(xlabel=f"{gene}, log1p", ylabel="share of spots at or below", ylim=(0, 1.01))
        last.legend(loc="lower right")
    return figure


def _bars(axes: Any, values: Mapping[str, NDArray[np.float32]]) -> None:
    counts = {title: np.rint(np.expm1(v.astype(np.float64))).astype(np.int64) for title, v in values.items()}
    edges, labels = count_bins(int(max(found.max() for found in counts.values())))
    width = 0.8 / len(counts)
    for i, (title, found) in enumerate(counts.items()):
        share = np.bincount(np.searchsorted(edges, found, side="right") - 1, minlength=len(edges)) / len(found)
        place = np.arange(len(edges)) - 0.4 + width * (i + 0.5)
        shade = TRUTH if title == "truth" else colour(i - 1)
        axes.bar(place, share, width, label=title, color=shade, hatch=hatch(max(0, i - 1)), edgecolor="white", lw=0)
    tilted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if len(labels) > 6 else {}
    axes.set_xticks(range(len(labels)), labels, **tilted)


def count_bins(largest: int) -> tuple[NDArray[np.int64], list[str]]:
    """First count of each bar, and its label: 0, 1, 2, then bars that double (3-4, 5-8, ...), up to `largest`."""
    edges = [0, 1, 2]
    while edges[-1] < largest:
        edges.append(2 ** (len(edges) - 2) + 1)
    if len(edges) > 3 and edges[-1] > largest:
        edges.pop()
    ends = [*(following - 1 for following in edges[1:]), largest]
    labels = [str(a) if b <= a else f"{a}–{b}" for a, b in zip(edges, ends, strict=True)]
    return np.array(edges, dtype=np.int64), labels


def _prediction(row: Row, gene: str, folders: Mapping[str, Path]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Prediction and truth of a gene over all test spots of a row's lowest seed."""
    predictions, truths = [], []
    done = [r for r in row.records if r.status == "done" and r.cell in folders]
    lowest = min((r.seed for r in done), default=0)
    for record in done:
        stored = read_predictions(folders[record.cell], [gene]) if record.seed == lowest else None
        if stored is not None and stored.genes:
            predictions.append(stored.prediction[:, 0])
            truths.append(stored.truth[:, 0])
    if not predictions:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    return np.concatenate(predictions), np.concatenate(truths)

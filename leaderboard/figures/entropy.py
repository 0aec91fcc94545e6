"""Entropy of predicted and true counts, by the weight that a gene has in QCA's input layer (Figure 4b of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..record import Record
from ..stored import read_diagnostics, read_scores
from ..table import Row, Table
from .canvas import COLOURS, TRUTH, colour, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHT = "gene_weight_l1"  # (genes,) in the order of the fold's panel
BINS = 5


def by_weight(table: Table, rows: Sequence[Row], folders: Mapping[str, Path]) -> Figure | None:
    """Mean entropy in bits within fifths of the genes by weight, truth and each row; None without QCA's weights.

    The weights are those of the row with the fewest settings that stores them, fold by fold; the other rows are put in
    the same bins. Drawn are that row and the first five of the others.
    """
    weighted = [row for row in rows if any(_weight(record, folders) is not None for record in row.records)]
    source = min(weighted, key=lambda row: len(row.settings), default=None)
    if source is None or table.protocol.target != "counts":
        return None
    rows = [source, *[row for row in rows if row is not source][: len(COLOURS) - 2]]
    bins = {r.fold.name: _bins(_weight(r, folders)) for r in source.records if _weight(r, folders) is not None}
    lines = {row.title: _line(row, bins, folders, "entropy_prediction") for row in rows}
    truth = _line(source, bins, folders, "entropy_truth")
    with style():
        figure = new_figure(5.8, 3.3)
        axes: Any = figure.subplots()
        axes.plot(range(1, BINS + 1), truth, "o-", color=TRUTH, lw=2.2, label="truth")
        for i, (title, line) in enumerate((t, v) for t, v in lines.items() if not np.isnan(v).all()):
            axes.plot(range(1, BINS + 1), line, "o-", color=colour(i), lw=1.5, ms=4, label=title)
        axes.set_xticks(range(1, BINS + 1), ["least", *[""] * (BINS - 2), "most"])
        axes.set(
            xlabel=f"genes in fifths by weight of {source.title}'s input layer",
            ylabel="entropy of counts, bits",
            ylim=(0, None),
        )
        figure.legend(loc="outside right upper")
    return figure


def _weight(record: Record, folders: Mapping[str, Path]) -> NDArray[np.float64] | None:
    if record.status != "done" or record.cell not in folders:
        return None
    found = read_diagnostics(folders[record.cell], [WEIGHT]).get(WEIGHT)
    return None if found is None else found.astype(np.float64)


def _bins(weight: NDArray[np.float64] | None) -> NDArray[np.intp]:
    assert weight is not None
    rank = np.argsort(np.argsort(weight, kind="stable"), kind="stable")
    return rank * BINS // len(weight)


def _line(
    row: Row, bins: Mapping[str, NDArray[np.intp]], folders: Mapping[str, Path], column: str
) -> NDArray[np.float64]:
    """Mean of a column of the scores by bin, over sections, then cells; NaN without stored scores."""
    parts = []
    for record in row.records:
        if record.status == "done" and record.cell in folders and record.fold.name in bins:
            scores = read_scores(folders[record.cell], ["level", "section", column])
            scores = scores[scores["level"] == "section"]
            for _, own in scores.groupby("section", sort=True):
                values, of = own[column].to_numpy(np.float64), bins[record.fold.name]
                if len(values) == len(of):
                    parts.append(np.bincount(of, values, BINS) / np.bincount(of, minlength=BINS))
    return np.mean(parts, axis=0) if parts else np.full(BINS, np.nan)

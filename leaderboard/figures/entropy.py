"""Entropy of predicted and true counts, by the weight that a gene has in QCA's input layer (Figure 4b of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..record import Record
from ..row import Row
from ..stored import read_diagnostics, read_scores
from ..table import Table
from .canvas import TRUTH, new_figure, stroke, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHT = "gene_weight_l1"  # (genes,) in the order of the fold's panel
BINS = 5


def by_weight(table: Table, rows: Sequence[Row], folders: Mapping[str, Path]) -> Figure | None:
    """Mean entropy in bits within fifths of the genes by weight, truth and each row; None without QCA's weights.

    The weights are those of the row with the fewest settings that stores them, fold by fold, of `rows` first, else of the
    table; every row is put in its bins and drawn.
    """
    source = _source(rows, folders) or _source([row for row in table.rows if row.complete], folders)
    if source is None or table.protocol.target != "counts":
        return None
    rows = [source, *[row for row in rows if row is not source]]
    bins = {r.fold.name: _bins(_weight(r, folders)) for r in source.records if _weight(r, folders) is not None}
    lines = {row.title: _line(row, bins, folders, "entropy_prediction") for row in rows}
    truth = _line(source, bins, folders, "entropy_truth")
    with style():
        figure = new_figure(5.8, 3.3)
        axes: Any = figure.subplots()
        axes.plot(range(1, BINS + 1), truth, "o-", color=TRUTH, lw=2.2, label="truth")
        for i, (title, line) in enumerate(lines.items()):
            named = f"{title} (none stored)" if np.isnan(line).all() else title
            axes.plot(range(1, BINS + 1), line, "o", **stroke(i), lw=1.5, ms=4, label=named)
        axes.set_xticks(range(1, BINS + 1), ["least", *[""] * (BINS - 2), "most"])
        axes.set(
            xlabel=f"genes in fifths by weight of {source.title}'s input layer",
            ylabel="entropy of counts, bits",
            ylim=(0, None),
        )
        figure.legend(loc="outside right upper")
    return figure


def _source(rows: Sequence[Row], folders: Mapping[str, Path]) -> Row | None:
    weighted = [row for row in rows if any(_weight(record, folders) is not None for record in row.records)]
    return min(weighted, key=lambda row: len(row.settings), default=None)


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

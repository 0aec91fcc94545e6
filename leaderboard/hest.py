"""HEST-bench's own figure in a printed table: whether it stands there, and what it is."""

from __future__ import annotations

from collections.abc import Sequence

from .table import Table

HEST = "hest"
HEST_LEGEND = (
    "HEST: HEST-bench's own figure, r of a gene over all test spots of a split together, neither clamped nor rounded, mean over "
    "genes, then splits (first bracket: over splits); its genes were chosen on the test samples, too."
)


def has_hest(table: Table) -> bool:
    """Whether any row has the figure."""
    return any(row.figure(HEST).mean is not None for row in table.rows)


def legend_of_hest(tables: Sequence[Table]) -> str:
    """What to add to the legend of some tables; nothing where none has the figure."""
    return f" {HEST_LEGEND}" if any(map(has_hest, tables)) else ""

"""A comparison of two rows for the terminal, Markdown-free: who leads, where, and on which genes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .compare import Gap, Pair

if TYPE_CHECKING:
    from rich.console import Console

_GENES = 8  # of each end


def print_gap(gap: Gap, console: Console) -> None:
    """Print one gap: the verdict that the patients allow, then patients, sections and the genes at both ends."""
    from rich.text import Text

    console.print(Text(gap.table.title, style="bold"))
    console.print(Text(verdict(gap)))
    _print("patient", gap.patients, gap, console)
    if len(gap.sections) > len(gap.patients):
        _print("section", gap.sections, gap, console)
    if gap.genes:
        ahead = sum(pair.gap > 0 for pair in gap.genes)
        console.print(Text(f"{gap.first.title} is ahead on {ahead} of {len(gap.genes)} genes"))
        few = gap.genes if len(gap.genes) <= 2 * _GENES else (*gap.genes[:_GENES], *gap.genes[-_GENES:])
        _print("gene", few, gap, console)


def verdict(gap: Gap) -> str:
    """One sentence: the mean gap, on how many patients it has that sign, and what can be said of it."""
    sign = 1 if gap.mean >= 0 else -1
    same = sum(pair.gap * sign > 0 for pair in gap.patients)
    told = (
        gap.sentence
        if gap.interval is None
        else f"95 % {gap.interval[0]:+.3f} to {gap.interval[1]:+.3f}, sign-flip p {gap.p:.3f}"
    )
    return (
        f"{gap.figure}: {gap.first.title} − {gap.second.title} = {gap.mean:+.3f}, same sign on {same} of "
        f"{len(gap.patients)} patients; {told}"
    )


def gap_json(gap: Gap) -> dict[str, Any]:
    """The comparison as data."""

    def pairs(values: Sequence[Pair]) -> list[dict[str, Any]]:
        return [{"name": p.unit, "first": p.first, "second": p.second, "gap": p.gap} for p in values]

    return {
        "protocol": gap.table.protocol.name,
        "protocol_hash": gap.table.protocol.hash,
        "track": gap.table.track,
        "dataset": gap.table.protocol.dataset,
        "figure": gap.figure,
        "first": gap.first.title,
        "second": gap.second.title,
        "gap": gap.mean,
        "interval": gap.interval,
        "p": gap.p,
        "sentence": gap.sentence,
        "patients": pairs(gap.patients),
        "sections": pairs(gap.sections),
        "genes": pairs(gap.genes),
    }


def _print(unit: str, pairs: Sequence[Pair], gap: Gap, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    widest = max((abs(pair.gap) for pair in pairs), default=0.0) or 1.0
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column(unit)
    for name in (gap.first.title, gap.second.title, "gap"):
        grid.add_column(Text(name), justify="right")
    grid.add_column("")
    for pair in pairs:
        bar = "█" * round(10 * abs(pair.gap) / widest)
        drawn = Text(f"{'' if pair.gap >= 0 else bar:>10}│{bar if pair.gap >= 0 else '':<10}")
        drawn.stylize("blue" if pair.gap >= 0 else "yellow")
        grid.add_row(Text(pair.unit), f"{pair.first:.3f}", f"{pair.second:.3f}", f"{pair.gap:+.3f}", drawn)
    console.print(grid)

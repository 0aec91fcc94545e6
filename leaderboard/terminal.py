"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..names import shown
from .analysis import remark
from .columns import (
    ABSENT,
    ENCODER,
    LINE,
    METHOD,
    RANK,
    Block,
    Column,
    blocks,
    downstream_blocks,
    number,
    ranks,
    within_columns,
)
from .hest import HEST, HEST_LEGEND, has_hest
from .reported import NAMES, Reported, fitting, heading, printed, read_reported, verdicts
from .row import RANKED_BY, Row
from .table import Table

if TYPE_CHECKING:
    from rich.console import Console

# Below this width a terminal shows means only; the spreads stand in every other format.
_WIDE = 110
_NARROW = 8  # columns that leave room for one more
_FIGURES = (("MG", "pcc_mg"), ("HVG", "pcc_hvg"), ("HEG", "pcc_heg"), ("all", "pcc_all"), ("MSE", "mse"))


def print_tables(tables: Sequence[Table], console: Console, detail: bool = False) -> None:
    """Print every table; cells are plain text, so a label's brackets are never read as markup."""
    from rich.text import Text

    for table in tables:
        _print(table, Block("", _columns(table, console.width)), console)
        for row in table.rows:
            untrained = row.encoder if console.width < _WIDE and row.random_weights else None  # no column says so
            if said := ", ".join(filter(None, (untrained, remark(row, table.rows)))):
                console.print(Text(f"{row.title}: {said}", style=_style(row)))
            for record in row.records:
                if record.failure is not None:
                    where = f"  fold {record.fold.name}, seed {record.seed}: "
                    console.print(Text(shown(f"{where}{record.failure.type}: {record.failure.message}"), style="red"))
        if table.mixed:
            console.print(Text(f"{table.mixed}.", style="yellow"))
        if table.beside:
            console.print(Text(table.beside))
        if has_hest(table):
            console.print(Text(HEST_LEGEND, style="dim"))
        if table.analysis.sentence:
            console.print(Text(table.analysis.sentence, style="yellow"))
        console.print()
        if detail:
            for block in blocks(table, detail=True)[1:]:
                _print(table, block, console)
            for reported in fitting(table, read_reported()):
                _print_reported(table, reported, console)
        if table.downstream is not None:
            for block in () if detail else downstream_blocks(table):
                _print(table, block, console)
            console.print(
                Text("Downstream figures rank nothing; behind a slash: what counting noise allows.", style="dim")
            )
            for note in table.downstream.notes:
                console.print(Text(shown(note), style="yellow"))
    if not tables:
        console.print("No results yet.")


def _columns(table: Table, width: int) -> tuple[Column, ...]:
    wide = width >= _WIDE
    columns = [RANK, *([LINE, ENCODER] if wide or table.mixed else [METHOD])]
    columns += [_figure("HEST", HEST, wide)] if has_hest(table) else []
    columns += [_figure(header, name, wide) for header, name in _FIGURES]
    columns += within_columns(table, *(_FIGURES[:2] if wide else _FIGURES[1:2]))
    columns.append(Column("sd ratio", lambda row: number(row.sd_ratio, 2)))
    if wide and any(row.n_seeds > 1 for row in table.rows):
        columns.append(Column("seed sd", lambda row: number(row.figure(RANKED_BY).sd_seeds)))
    if wide or len({(row.n_folds, row.n_seeds) for row in table.rows}) > 1:
        columns.append(Column("cells", lambda row: f"{row.n_folds}×{row.n_seeds}"))
    if any(finding.p_adjusted is not None for finding in table.analysis.findings.values()):
        columns.append(Column("p", lambda row: number(table.analysis.of(row).p_adjusted)))
    if any(finding.tie_group for finding in table.analysis.findings.values()):
        columns.append(Column("ranks", lambda row: ranks(table.analysis.of(row).rank_interval)))
    if any(finding.tie_group for finding in table.analysis.findings.values()) and (wide or not table.mixed):
        columns.append(Column("tie", lambda row: str(table.analysis.of(row).tie_group or ABSENT)))
    if len(columns) > _NARROW and not wide:
        return tuple(columns)
    return (*columns, Column("fit s", lambda row: number(row.fit_seconds, 1)))


def _figure(header: str, name: str, wide: bool) -> Column:
    def text(row: Row) -> str:
        figure = row.figure(name)
        beside = f" ±{figure.sd_patients:.2f}" if wide and figure.sd_patients is not None else ""
        return number(figure.mean) + beside

    return Column(header, text)


def _print(table: Table, block: Block, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    title = f"{table.title} · {block.title}" if block.title else table.title
    spreads = any(row.figure(RANKED_BY).sd_patients is not None for row in table.rows)
    console.print(Text(title, style="bold"))
    grid = RichTable(
        caption=Text("± sd over patients; seed sd: over seeds, of HVG; cells: folds × seeds")
        if spreads and not block.title and console.width >= _WIDE
        else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for column in block.columns:
        grid.add_column(
            Text(column.header),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.numeric,
            min_width=_least(column, table),
        )
    for row in block.rows(table):
        grid.add_row(*(Text(column.text(row), style=_style(row)) for column in block.columns))
    console.print(grid)


def _least(column: Column, table: Table) -> int | None:
    """Characters of a column of names that figures leave to it."""
    longest = {METHOD: 18, LINE: 12 if table.mixed else 18, ENCODER: 10}.get(column)
    return (
        None
        if longest is None
        else min(longest, max(len(text) for text in (column.header, *map(column.text, table.rows))))
    )


def _print_reported(table: Table, reported: Reported, console: Console) -> None:
    """A paper's figures below a measured table: another grid, never rows of the ranked one."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    console.print(Text(heading(table, reported), style="bold"))
    console.print(Text(f"{reported.origin}.", style="dim"))
    if reported.rows:
        grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        grid.add_column("Method")
        for name in ("MB", *(NAMES[name] for name in reported.figures)):
            grid.add_column(name, justify="right", no_wrap=True)
        for row in reported.rows:
            cells = (number(row.size_mb, 0), *(printed(getattr(row, name)) for name in reported.figures))
            grid.add_row(*(Text(cell) for cell in (row.label, *cells)))
        console.print(grid)
    for note in (*reported.statements, *(verdict.text for verdict in verdicts(table, reported))):
        console.print(Text(f"* {note}"))
    console.print()


def _style(row: Row) -> str:
    if row.failed:
        return "red"
    return "bold" if row.rank == 1 else "" if row.rank is not None else "dim"

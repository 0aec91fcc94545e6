"""Tables as GitHub Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from ..names import shown, spreadsheet_cell
from .columns import LEGEND, LINE, METHOD, Block, blocks, number
from .hest import legend_of_hest
from .reported import NAMES, Reported, fitting, heading, printed, read_reported, verdicts
from .row import Row
from .table import Table


def tables_markdown(tables: Sequence[Table], detail: bool = False) -> str:
    """A section a table: its protocol in the title, the rows, the legend, failures in words."""
    if not tables:
        return "No results yet.\n"
    return "\n".join(_section(table, detail) for table in tables) + f"\n{LEGEND}{legend_of_hest(tables)}\n"


def _section(table: Table, detail: bool) -> str:
    parts = [f"## {escape(table.title)}\n"]
    if table.mixed:
        parts.append(f"{escape(table.mixed)}.\n")
    for block in blocks(table, detail):
        if block.title:
            parts.append(f"### {escape(block.title)}\n")
        parts.append(_grid(block, block.rows(table)))
    if detail:
        parts += [_reported(table, reported) for reported in fitting(table, read_reported())]
    if table.beside:
        parts.append(f"{escape(table.beside)}.\n")
    if table.analysis.sentence:
        parts.append(f"{escape(table.analysis.sentence)}.\n")
    parts += [f"* {line}" for row in table.rows for line in failures(row)]
    return "\n".join(parts) + "\n"


def _reported(table: Table, reported: Reported) -> str:
    """A paper's table in a block of its own, with the verdicts on direction."""
    lines = [f"### {escape(heading(table, reported))}\n", f"{escape(reported.origin)}.\n"]
    if reported.rows:
        headers = ["MB", *(NAMES[name] for name in reported.figures)]
        lines += [f"| Method | {' | '.join(headers)} |", "|---|" + "---:|" * len(headers)]
    for row in reported.rows:
        cells = [number(row.size_mb, 0), *(printed(getattr(row, name)) for name in reported.figures)]
        lines.append(f"| {escape(row.label)} | {' | '.join(cells)} |")
    notes = [*reported.statements, *(verdict.text for verdict in verdicts(table, reported))]
    return "\n".join([*lines, "", *(f"* {escape(note)}" for note in notes)]) + "\n"


def failures(row: Row) -> list[str]:
    """One line a failed cell of the row."""
    return [
        f"`{escape(row.title)}` failed on fold {escape(r.fold.name)}, seed {r.seed}: "
        f"{escape(r.failure.type)}: {escape(r.failure.message)}"
        for r in row.records
        if r.failure is not None
    ]


def _grid(block: Block, rows: Sequence[Row]) -> str:
    columns = block.columns
    lines = [
        "| " + " | ".join(escape(spreadsheet_cell(column.header)) for column in columns) + " |",
        "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|",
    ]
    for row in rows:
        cells = [f"`{escape(c.text(row))}`" if c in (METHOD, LINE) else escape(c.cell(row)) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text that cannot leave its table cell or become markup."""
    flat = shown(" ".join(text.split())).replace("`", "'").replace("|", "\\|")
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

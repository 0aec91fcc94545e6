"""Tables as LaTeX (booktabs), to paste into a paper."""

from __future__ import annotations

from collections.abc import Sequence

from ..names import shown, spreadsheet_cell
from .columns import LEGEND, Block, blocks
from .hest import legend_of_hest
from .table import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "·": r"\textperiodcentered{}",
}


def tables_latex(tables: Sequence[Table], detail: bool = False) -> str:
    """A table environment each; needs LaTeX's package booktabs."""
    return "\n".join(_table(table, block) for table in tables for block in blocks(table, detail))


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(character, character) for character in shown(text))


def _table(table: Table, block: Block) -> str:
    def line(cells: Sequence[str]) -> str:
        return "    " + " & ".join(escape(cell) for cell in cells) + r" \\"

    said = [table.title, block.title, table.mixed, table.analysis.sentence, LEGEND + legend_of_hest([table])]
    caption = ". ".join(part for part in said if part)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escape(caption)}}}",
            rf"  \begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in block.columns)}}}",
            r"    \toprule",
            line([spreadsheet_cell(c.header) for c in block.columns]),
            r"    \midrule",
            *(line([c.cell(row) for c in block.columns]) for row in block.rows(table)),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )

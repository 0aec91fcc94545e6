"""One name for every text format of the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from .export import tables_csv, tables_json
from .latex import tables_latex
from .markdown import tables_markdown
from .table import Table

Format = Literal["md", "csv", "json", "latex"]


def render(tables: Sequence[Table], format: Format, detail: bool = False) -> str:
    """The tables as text. `detail` adds blocks to md and latex; csv and json hold every figure in any case."""
    if format == "json":
        return json.dumps(tables_json(tables), indent=1) + "\n"
    if format == "csv":
        return tables_csv(tables)
    return tables_markdown(tables, detail) if format == "md" else tables_latex(tables, detail)

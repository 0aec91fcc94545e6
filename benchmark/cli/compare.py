"""`qbench compare`: the gap between two rows, by patient, section and gene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import flags
from .damage import naming_damage, remembering


def add(app: typer.Typer) -> None:
    app.command("compare", epilog="Example: qbench compare qca ridge --figure pcc_heg")(compare)


def compare(
    first: Annotated[str, typer.Argument(help='A row, by its method: qca, or "qca\\[alpha=0.5]".')],
    second: Annotated[str, typer.Argument(help="The row to compare it with.")],
    runs: Annotated[Path, typer.Option("--runs", help="The runs folder.")] = Path("runs"),
    figure: Annotated[
        str, typer.Option("--figure", help="pcc_hvg (default), pcc_heg, pcc_mg, pcc_all, mse, ...")
    ] = "pcc_hvg",
    out: flags.Out = None,
    as_json: flags.Json = False,
) -> None:
    """Explain the gap between two rows of a table, by patient, section and gene."""
    from ...leaderboard.compare import compare as gaps
    from ...leaderboard.compare_text import gap_json, print_gap
    from ...leaderboard.folder import read_tables

    with naming_damage() as damaged:
        with remembering(out or runs) as sha256:
            tables, folders = read_tables(out or runs, damaged=damaged, sha256=sha256)
        found = gaps(tables, first, second, folders, figure)
        if as_json:
            print(json.dumps({"schema": 1, "gaps": [gap_json(gap) for gap in found]}, indent=1))
            return
        from rich.console import Console

        for gap in found:
            print_gap(gap, Console(highlight=False))

"""`qbench figures`: what stored predictions look like, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import flags
from .damage import naming_damage, remembering


def add(app: typer.Typer) -> None:
    app.command("figures", epilog="Example: qbench figures --methods qca,bleep,ridge --genes PTPRF,TRAF4,ERBB2")(
        figures
    )


def figures(
    runs: flags.Runs = Path("runs"),
    to: Annotated[Path, typer.Option("--to", help="Folder for the PNG and SVG files.")] = Path("figures"),
    methods: Annotated[
        list[str] | None,
        typer.Option("--methods", "-m", help="Rows to draw, all of them; the five best of each table without it."),
    ] = None,
    genes: flags.Genes = None,
    out: flags.Out = None,
    quiet: flags.Quiet = False,
) -> None:
    """Draw the board, genes on the tissue, distributions, PCC by gene, entropy, codebook and ablations, from stored cells."""
    from ...leaderboard.figures.draw import GENES, draw_figures
    from ...leaderboard.folder import read_tables
    from ...leaderboard.genes import check_genes, fold_panels
    from ...methods.registry import split_list

    with naming_damage() as damaged:
        with remembering(out or runs) as sha256:
            tables, folders = read_tables(out or runs, damaged=damaged, sha256=sha256)
        chosen = split_list(genes or "")
        notes = check_genes(chosen, tables, folders)
        if genes is None:  # the paper's three, where a panel has them
            panel = {gene for table in tables for genes_of in fold_panels(table, folders).values() for gene in genes_of}
            chosen = [gene for gene in GENES if gene in panel]

        def progress(what: str, done: int, total: int) -> None:
            if not quiet:
                typer.echo(what, err=True)

        for note in notes:
            typer.echo(note, err=True)
        titles = {row.title for table in tables for row in table.rows}  # a title may hold commas
        named = [name for text in methods or () for name in ([text] if text in titles else split_list(text))]
        paths = draw_figures(tables, folders, to, chosen, progress, named)
        typer.echo(f"{len(paths)} files in {to}")

"""`qbench leaderboard`, `compare`, `figures`, `verify`: everything that is made of stored records."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError, unknown
from . import flags

if TYPE_CHECKING:
    from ...leaderboard.table import Table

FORMATS = ("md", "csv", "json", "latex", "html")
Runs = Annotated[Path, typer.Argument(help="The runs folder.")]
Reference = Annotated[str, typer.Option("--reference", help="The row that all others are compared with.")]
Genes = Annotated[str | None, typer.Option("--genes", help="Genes to draw, with commas: PTPRF,TRAF4,ERBB2.")]


def add(app: typer.Typer) -> None:
    app.command(
        "leaderboard",
        epilog="Examples:\n\nqbench leaderboard\n\nqbench leaderboard runs --format md --output LEADERBOARD.md\n\n"
        "qbench leaderboard runs --format html --output board.html --data-dir her2st",
    )(leaderboard)
    app.command("compare", epilog="Example: qbench compare qca ridge --figure pcc_heg")(compare)
    app.command("figures", epilog="Example: qbench figures --methods qca,bleep,ridge --genes PTPRF,TRAF4,ERBB2")(
        figures
    )
    app.command("verify", epilog="Example: qbench verify runs")(verify)


def leaderboard(
    runs: Runs = Path("runs"),
    form: Annotated[
        str | None, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; a table for the eye without it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    detail: Annotated[
        bool,
        typer.Option("--detail", help="Marker groups, technical genes, unrounded, pooled, depth-adjusted, ceilings."),
    ] = False,
    reference: Reference = "ridge",
    genes: Genes = None,
    data_dir: flags.DataDir = None,
    dataset: flags.Dataset = None,
    out: flags.Out = None,
    as_json: flags.Json = False,
) -> None:
    """Rank what the runs folder holds: one table per protocol and track, never merged."""
    form = "json" if as_json else form
    if form is None and output is not None:
        form = _by_suffix(output)
    if form is not None and form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if genes is not None and form != "html":
        raise ConfigurationError("--genes chooses the maps of the page, found another format; add --format html.")
    tables, folders = _read(out or runs, reference, ceilings=detail or form in ("html", "json"))
    if form is None:
        from rich.console import Console

        from ...leaderboard.terminal import print_tables

        print_tables(tables, Console(highlight=False), detail)
        return
    if form == "html":
        text = _page(tables, folders, genes, data_dir, dataset)
    else:
        from ...leaderboard.render import render

        text = render(tables, form, detail)  # type: ignore[arg-type]
    if output is None:
        sys.stdout.write(text)
        return
    from ...files import write_text

    write_text(output, text)
    if form == "html":
        typer.echo(f"{output}: {len(text.encode()) / 1e6:.1f} MB, open it in a browser", err=True)


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

    tables, folders = _read(out or runs)
    found = gaps(tables, first, second, folders, figure)
    if as_json:
        print(json.dumps({"schema": 1, "gaps": [gap_json(gap) for gap in found]}, indent=1))
        return
    from rich.console import Console

    for gap in found:
        print_gap(gap, Console(highlight=False))


def figures(
    runs: Runs = Path("runs"),
    to: Annotated[Path, typer.Option("--to", help="Folder for the PNG and SVG files.")] = Path("figures"),
    methods: Annotated[
        list[str] | None,
        typer.Option("--methods", "-m", help="Rows to draw, all of them; the five best of each table without it."),
    ] = None,
    genes: Genes = None,
    out: flags.Out = None,
    quiet: flags.Quiet = False,
) -> None:
    """Draw genes on the tissue, distributions, PCC by gene, entropy, codebook and ablations, from stored predictions."""
    from ...leaderboard.figures.draw import GENES, draw_figures
    from ...leaderboard.genes import check_genes, fold_panels
    from ...methods.registry import split_list

    tables, folders = _read(out or runs)
    chosen = _genes(genes)
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


def verify(
    runs: Runs = Path("runs"), out: flags.Out = None, as_json: flags.Json = False, quiet: flags.Quiet = False
) -> None:
    """Recompute every hash and score from the stored predictions; exit 3 when one does not hold."""
    from ..engine.reporter import make_reporter
    from ..engine.verify import verify as check

    reporter = make_reporter(quiet or as_json, False)
    found = check(out or runs, reporter.preparing)
    reporter.finish()
    if as_json:
        problems = [{"cell": problem.cell, "message": problem.message} for problem in found.problems]
        print(json.dumps({"schema": 1, "cells": found.cells, "failed": found.failed, "problems": problems}, indent=1))
    else:
        for problem in found.problems:
            typer.echo(f"{problem.cell}: {problem.message}")
        failed = f", {found.failed} failed cells have nothing to hold" if found.failed else ""
        typer.echo(f"{found.cells} cells verified, {len(found.problems)} problems{failed}")
    if found.problems:
        raise typer.Exit(3)


def _read(folder: Path, reference: str = "ridge", ceilings: bool = False) -> tuple[list[Table], dict[str, Path]]:
    """The tables of a runs folder, and where each cell's files are."""
    from ...leaderboard.record import find_records
    from ...leaderboard.stored import folders_by_cell
    from ...leaderboard.summarise import summarise

    if not folder.is_dir():
        raise ConfigurationError(
            f"Expected a runs folder at {folder}, found none; name it, or make one with 'qbench run'."
        )
    found = find_records(folder)
    if not found:
        raise ConfigurationError(
            f"Expected records in {folder}, found none; run something first, for example 'qbench run --methods ridge'."
        )
    folders = folders_by_cell(found)
    tables = summarise((record for _, record in found), reference)
    if ceilings:
        from ...leaderboard.ceiling import with_ceilings

        tables = with_ceilings(tables, folders)
    return tables, folders


def _page(
    tables: list[Table], folders: dict[str, Path], genes: str | None, data_dir: Path | None, dataset: str | None
) -> str:
    from ...datasets.registry import card
    from ...leaderboard.genes import check_genes
    from ...leaderboard.page import render_page
    from ..engine.thumbnails import make_thumbnails

    for note in check_genes(_genes(genes), tables, folders):
        typer.echo(note, err=True)
    cards = {} if dataset is None else {card(dataset).name: dataset}
    thumbnails, notes = make_thumbnails(tables, data_dir, cards)
    for note in notes:
        typer.echo(note, err=True)
    return render_page(tables, folders, thumbnails, _genes(genes))


def _genes(text: str | None) -> list[str]:
    return [gene.strip() for gene in (text or "").split(",") if gene.strip()]


def _by_suffix(output: Path) -> str:
    suffix = output.suffix.lower().lstrip(".")
    return {"tex": "latex", "markdown": "md", "htm": "html"}.get(suffix, suffix or "md")

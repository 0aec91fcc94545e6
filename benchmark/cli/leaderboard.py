"""`qbench leaderboard`: the tables of a runs folder, for the eye or as a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError, short, unknown
from . import flags
from .damage import naming_damage, remembering

if TYPE_CHECKING:
    from ...leaderboard.searched import Found
    from ...leaderboard.table import Table

FORMATS = ("md", "csv", "json", "latex", "html")


def add(app: typer.Typer) -> None:
    app.command(
        "leaderboard",
        epilog="Examples:\n\nqbench leaderboard\n\nqbench leaderboard runs --format md --output LEADERBOARD.md\n\n"
        "qbench leaderboard runs --encoder uni2-h\n\nqbench leaderboard runs --format html --output board.html --data-dir her2st",
    )(leaderboard)


def leaderboard(
    runs: flags.Runs = Path("runs"),
    form: Annotated[
        str | None, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; a table for the eye without it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    detail: Annotated[
        bool,
        typer.Option(
            "--detail", help="Marker groups, unrounded, pooled, depth-adjusted, ceilings, downstream figures."
        ),
    ] = False,
    reference: flags.Reference = "ridge",
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="Rank the rows of this encoder alone, or of these; rows without one stay."),
    ] = None,
    genes: flags.Genes = None,
    finer: Annotated[
        list[str] | None,
        typer.Option(
            "--finer",
            help="SECTION=FILE: a map of 'qbench predict --resolution' on that section's image, for the page; repeatable.",
        ),
    ] = None,
    data_dir: flags.DataDir = None,
    dataset: flags.Dataset = None,
    out: flags.Out = None,
    as_json: flags.Json = False,
) -> None:
    """Rank what the runs folder holds: one table per protocol and track, never merged."""
    from ...leaderboard.folder import read_tables, with_downstream
    from ...leaderboard.searched import read_searched
    from ...methods.registry import split_list

    form = "json" if as_json else form
    if form is None and output is not None:
        form = _by_suffix(output)
    if form is not None and form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if genes is not None and form != "html":
        raise ConfigurationError("--genes chooses the maps of the page, found another format; add --format html.")
    maps = _finer(finer or (), form)
    files, encoders = detail or form in ("html", "json", "csv"), split_list(encoder or "")
    with naming_damage() as damaged:
        with remembering(out or runs) as sha256:
            tables, folders = read_tables(
                out or runs, reference, files and form != "csv", damaged, files, encoders, sha256
            )
        if files:
            tables = with_downstream(tables, folders, damaged)
        if form is None:
            from rich.console import Console

            from ...leaderboard.terminal import print_tables

            print_tables(tables, Console(highlight=False), detail)
            return
        if form == "html":
            text = _page(tables, folders, genes, data_dir, dataset, read_searched(out or runs, damaged), maps)
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


def _page(
    tables: list[Table],
    folders: dict[str, Path],
    genes: str | None,
    data_dir: Path | None,
    dataset: str | None,
    searched: Found,
    finer: dict[str, Path],
) -> str:
    from ...datasets.registry import card
    from ...leaderboard.genes import check_genes
    from ...leaderboard.page import render_page
    from ...leaderboard.searched import without_table
    from ...methods.registry import split_list
    from ..engine.thumbnails import make_thumbnails

    chosen = split_list(genes or "")
    for note in check_genes(chosen, tables, folders):
        typer.echo(note, err=True)
    cards = {} if dataset is None else {card(dataset).name: dataset}
    thumbnails, notes = make_thumbnails(tables, data_dir, cards)
    for note in [*notes, *without_table(searched, tables)]:
        typer.echo(note, err=True)
    return render_page(tables, folders, thumbnails, chosen, searched, finer)


def _finer(values: Iterable[str], form: str | None) -> dict[str, Path]:
    """The maps by section, of a page alone."""
    found: dict[str, Path] = {}
    for value in values:
        section, _, file = value.partition("=")
        if form != "html":
            raise ConfigurationError("--finer adds maps to the page, found another format; add --format html.")
        if not (section and file) or section in found:
            raise ConfigurationError(f"Expected --finer SECTION=FILE, each section once, found {short(value)}.")
        found[section] = Path(file).expanduser()
    return found


def _by_suffix(output: Path) -> str:
    suffix = output.suffix.lower().lstrip(".")
    return {"tex": "latex", "markdown": "md", "htm": "html"}.get(suffix, suffix or "md")

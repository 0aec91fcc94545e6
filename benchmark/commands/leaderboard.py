"""`qbench leaderboard`: tables from stored records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...errors import ConfigurationError
from . import flags

FORMATS = ("md", "csv", "json", "latex")


def add(app: typer.Typer) -> None:
    app.command(
        "leaderboard",
        epilog="Examples:\n\nqbench leaderboard\n\nqbench leaderboard runs --format md --output LEADERBOARD.md",
    )(leaderboard)


def leaderboard(
    runs: Annotated[Path, typer.Argument(help="The runs folder.")] = Path("runs"),
    form: Annotated[
        str | None, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}; a table for the eye without it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    detail: Annotated[
        bool, typer.Option("--detail", help="Marker groups, technical genes, unrounded, pooled, depth-adjusted.")
    ] = False,
    out: flags.Out = None,
    as_json: flags.Json = False,
) -> None:
    """Rank what the runs folder holds: one table per protocol and track, never merged."""
    from ...leaderboard.record import find_records
    from ...leaderboard.render import render
    from ...leaderboard.summarise import summarise

    folder = out or runs
    if not folder.is_dir():
        raise ConfigurationError(
            f"Expected a runs folder at {folder}, found none; name it, or make one with 'qbench run'."
        )
    records = [record for _, record in find_records(folder)]
    if not records:
        raise ConfigurationError(
            f"Expected records in {folder}, found none; run something first, for example 'qbench run --methods ridge'."
        )
    tables = summarise(records)
    form = "json" if as_json else form
    if form is None and output is None:
        from rich.console import Console

        from ...leaderboard.terminal import print_tables

        print_tables(tables, Console(highlight=False), detail)
        return
    form = form or _by_suffix(output)
    if form not in FORMATS:
        from ...errors import unknown

        raise unknown("format", form, FORMATS)
    text = render(tables, form, detail)  # type: ignore[arg-type]
    if output is None:
        sys.stdout.write(text)
    else:
        from ..files import write_text

        write_text(output, text)


def _by_suffix(output: Path | None) -> str:
    suffix = "" if output is None else output.suffix.lstrip(".")
    return {"tex": "latex", "markdown": "md"}.get(suffix, suffix or "md")

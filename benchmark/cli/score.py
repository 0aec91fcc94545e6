"""`qbench score`: rank predictions that were made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..settings import RunSettings
from . import flags
from .damage import naming_damage


def add(app: typer.Typer) -> None:
    app.command(
        "score",
        epilog="Examples:\n\nqbench protocol export --to splits --dataset her2st --data-dir her2st\n\n"
        "qbench score predictions.parquet --name my-model --dataset her2st --data-dir her2st --scale log1p",
    )(score)


@flags.taking("score")
def score(
    *,
    predictions: Annotated[
        Path, typer.Argument(help=".h5ad, or a table (section, spot, gene, prediction) as .csv or .parquet.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Name of the row; the file's name without it.")] = None,
    scale: Annotated[
        str,
        typer.Option(
            "--scale", help="What the numbers are: log1p (of the target), counts, or proportion (per 10,000)."
        ),
    ] = "log1p",
    settings: RunSettings,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Score predictions under the folds and panels of 'qbench protocol export'; the row is marked external."""
    from ...leaderboard.export import tables_json
    from ...leaderboard.folder import with_ceilings
    from ...leaderboard.record import find_records
    from ...leaderboard.stored import folders_by_cell
    from ...leaderboard.transfer import summarise_beside
    from ..external.score import score_predictions

    records, notes = score_predictions(predictions, name or predictions.name.split(".")[0], scale, settings)
    # Beside what else was run on the same protocol and track, for that is what the row is compared with.
    first = records[0]
    with naming_damage() as damaged:
        stored = find_records(settings.out, damaged)
        beside = [r for _, r in stored if (r.protocol.hash, r.track) == (first.protocol.hash, first.track)]
        tables = summarise_beside(beside, lambda: (record for _, record in stored))
        if as_json:
            print(json.dumps(tables_json(with_ceilings(tables, folders_by_cell(stored))), indent=1))
            return
        from rich.console import Console

        from ...leaderboard.terminal import print_tables

        if not quiet:
            for note in notes:
                typer.echo(note, err=True)
        print_tables(tables, Console(highlight=False))

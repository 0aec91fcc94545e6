"""`qbench sweep`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..settings import RunSettings
from ..sweep.settings import SweepSettings
from . import flags

EPILOG = """Examples:

qbench sweep qca

qbench sweep qca --dataset her2st --data-dir her2st --samples 16

qbench sweep "qca[hidden=512]" --space my_space.yaml --search grid --scheduler fifo

qbench sweep qca --ray-address 127.0.0.1:6379 --gpus-per-trial 0.5

A killed sweep goes on where it was when the same command is given again."""


def add(app: typer.Typer) -> None:
    app.command("sweep", epilog=EPILOG)(search)


@flags.taking("sweep")
def search(
    *,
    method: Annotated[str, typer.Argument(help="The method to tune; settings in brackets stay fixed.")],
    sweep: SweepSettings,
    settings: RunSettings,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Tune a method inside every fold, then train and score what was chosen."""
    from rich.console import Console

    from ...leaderboard.terminal import print_tables
    from ..engine.reporter import make_reporter
    from ..sweep.report import as_dict, time_in_words, write_report
    from ..sweep.run import run_sweep

    quiet = quiet or as_json
    done = run_sweep(
        method,
        settings,
        sweep,
        Console(stderr=True, highlight=False),
        make_reporter(quiet, verbose),
        quiet=quiet,
        verbose=verbose,
    )
    tables = write_report(done)
    if as_json:
        print(json.dumps(as_dict(done, tables), indent=1))
    else:
        console = Console(highlight=False)
        print_tables(tables, console)
        console.print(time_in_words(done), markup=False)
        console.print(f"Report, trials and plots: {done.folder}", markup=False, soft_wrap=True)
    if any(record.status == "failed" for record in done.records):
        raise typer.Exit(1)

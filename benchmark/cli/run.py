"""`qbench run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ..settings import RunSettings
from . import flags

if TYPE_CHECKING:
    from ..engine.plan import Plan

EPILOG = """Examples:

qbench run --methods qca,bleep

qbench run --methods qca,bleep,ridge,colour --dataset her2st --data-dir her2st --seeds 0,1,2

qbench run -m "qca[alpha=0.5,fsq_levels=8-5-5-5]" -m ridge --target proportion

qbench run --methods mean --dataset her2st --data-dir her2st --no-images

A cell that is done is read, not run again; a killed run goes on where it was."""


def add(app: typer.Typer) -> None:
    app.command("run", epilog=EPILOG)(run)


@flags.taking("run")
def run(
    *,
    settings: RunSettings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, cell by cell, and stop.")] = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Train, predict, score and rank methods on the folds of a protocol."""
    from ...leaderboard.export import tables_json
    from ...leaderboard.folder import with_ceilings
    from ...leaderboard.summarise import summarise
    from ..engine.plan import make_plan
    from ..engine.reporter import make_reporter
    from ..engine.run import execute

    plan = make_plan(settings)
    if dry_run:
        _print_plan(plan, as_json)
        return
    records = execute(plan, make_reporter(quiet or as_json, verbose))
    tables = summarise(records)
    if as_json:
        print(json.dumps(tables_json(with_ceilings(tables, plan.folders)), indent=1))
    else:
        from rich.console import Console

        from ...leaderboard.terminal import print_tables

        print_tables(tables, Console(highlight=False))
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


def _print_plan(plan: Plan, as_json: bool) -> None:
    rows = [
        {
            "method": cell.task.method,
            "fold": cell.task.fold.name,
            "seed": cell.task.seed,
            "state": cell.state,
            "reason": cell.reason,
            "cell": cell.task.name,
        }
        for cell in plan.cells
    ]
    if as_json:
        print(json.dumps({"schema": 1, "protocol": plan.protocol.folder, "notes": plan.notes, "cells": rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for note in plan.notes:
        console.print(note, markup=False)
    table = Table(title=Text(f"Plan: {plan.protocol.folder}"), title_justify="left")
    for header in ("method", "fold", "seed", "state", "why"):
        table.add_column(header)
    for row in rows:
        table.add_row(*(Text(str(row[key])) for key in ("method", "fold", "seed", "state", "reason")))
    console.print(table)
    pending = len(plan.pending())
    console.print(f"{len(rows)} cells, {len(rows) - pending} to read, {pending} to run")

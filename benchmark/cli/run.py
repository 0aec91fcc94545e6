"""`qbench run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ..downstream.settings import DownstreamSettings
from ..settings import RunSettings
from . import flags
from .damage import naming_damage

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ..engine.plan import Plan

EPILOG = """Examples:

qbench run --methods qca,bleep

qbench run --methods qca,bleep,ridge,colour --dataset her2st --data-dir her2st --seeds 0,1,2

qbench run -m "qca[alpha=0.5,fsq_levels=8-5-5-5]" -m ridge --target proportion

qbench run --methods ridge,qca,mean --encoders efficientnet_lite0,uni2-h,virchow2

qbench run --methods mean --dataset her2st --data-dir her2st --no-images

qbench run --methods ridge,mean --downstream --gene-sets breast,hallmarks.gmt

qbench run --protocol hest-bench --tasks IDC,PRAD --data-dir hest-bench --methods pca-ridge --encoder resnet50-layer3

A cell that is done is read, not run again; a killed run goes on where it was."""


def add(app: typer.Typer) -> None:
    app.command("run", epilog=EPILOG)(run)


@flags.taking("run")
def run(
    *,
    settings: RunSettings,
    asked: DownstreamSettings,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, cell by cell, and stop.")] = False,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Train, predict, score and rank methods on the folds of a protocol."""
    from ...leaderboard.export import tables_json
    from ...leaderboard.folder import with_ceilings
    from ...leaderboard.record import find_records
    from ...leaderboard.transfer import summarise_beside
    from ..engine.plan import make_plan
    from ..engine.reporter import make_reporter
    from ..engine.run import execute
    from ..engine.tasks import runs_of

    if asked.downstream:
        from ..downstream.domains import check_installed
        from ..downstream.gene_sets import read_gene_sets

        check_installed()  # before anything is fitted
        sets = read_gene_sets(asked.gene_sets)
    plans = [make_plan(options) for options in runs_of(settings)]
    if dry_run:
        _print_plans(plans, as_json)
        return
    with naming_damage() as damaged:
        records = [
            record for plan in plans for record in execute(plan, make_reporter(quiet or as_json, verbose), damaged)
        ]
        tables = summarise_beside(records, lambda: (record for _, record in find_records(settings.out, damaged)))
        folders = {cell: folder for plan in plans for cell, folder in plan.folders.items()}
        if asked.downstream:
            from ...leaderboard.folder import with_downstream
            from ..downstream.folder import labels_of
            from .downstream import make_figures

            found = [(folders[record.cell], record) for record in records if record.cell in folders]
            labels = {p.protocol.test_dataset or p.protocol.dataset: labels_of(p.dataset) for p in plans}
            make_figures(found, sets, labels, quiet or as_json)
            tables = with_downstream(tables, folders)
        if as_json:
            print(json.dumps(tables_json(with_ceilings(tables, folders)), indent=1))
        else:
            from rich.console import Console

            from ...leaderboard.terminal import print_tables

            print_tables(tables, Console(highlight=False))
    if any(record.status == "failed" for record in records):
        raise typer.Exit(1)


def _grid(plan: Plan) -> RichTable:
    """Methods down, encoders across, in each place the cells to run of all that it has."""
    from rich.table import Table
    from rich.text import Text

    columns = [*plan.options.encoders, *([None] if any(m.crossed is None for m in plan.methods) else [])]
    grid = Table(title=Text("Cells to run, of all"), title_justify="left")
    grid.add_column("method")
    for encoder in columns:
        grid.add_column(Text(encoder or "no encoder of these"), justify="right")
    pending = {cell.task.cell for cell in plan.pending()}
    for method in dict.fromkeys(m.spec.label for m in plan.methods):
        line = [Text(method)]
        for encoder in columns:
            cells = [c.task.cell for c in plan.cells if (c.task.method, c.task.encoder) == (method, encoder)]
            line.append(Text(f"{len(pending & {*cells})} of {len(cells)}" if cells else "–"))
        grid.add_row(*line)
    return grid


def _print_plans(plans: list[Plan], as_json: bool) -> None:
    if not as_json:
        for plan in plans:
            _print_plan(plan)
        return
    found = [{"protocol": plan.protocol.folder, "notes": plan.notes, "cells": _rows(plan)} for plan in plans]
    print(json.dumps({"schema": 1, **(found[0] if len(found) == 1 else {"plans": found})}, indent=1))


def _rows(plan: Plan) -> list[dict[str, object]]:
    return [
        {
            "method": cell.task.method,
            "encoder": cell.task.encoder,
            "fold": cell.task.fold.name,
            "seed": cell.task.seed,
            "state": cell.state,
            "reason": cell.reason,
            "cell": cell.task.name,
        }
        for cell in plan.cells
    ]


def _print_plan(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = _rows(plan)
    console = Console(highlight=False)
    for note in plan.notes:
        console.print(note, markup=False)
    table = Table(title=Text(f"Plan: {plan.protocol.folder}"), title_justify="left")
    names = ["method", *(["encoder"] if plan.options.encoders else []), "fold", "seed", "state", "reason"]
    for name in names:
        table.add_column("why" if name == "reason" else name)
    for row in rows:
        table.add_row(*(Text("–" if row[name] is None else str(row[name])) for name in names))
    console.print(table)
    if plan.options.encoders:
        console.print(_grid(plan))
    pending = len(plan.pending())
    console.print(f"{len(rows)} cells, {len(rows) - pending} to read, {pending} to run")

"""`qbench run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

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


def run(
    methods: flags.Methods = None,
    dataset: flags.Dataset = None,
    data_dir: flags.DataDir = None,
    protocol: flags.ProtocolName = None,
    allow_leaky: flags.AllowLeaky = None,
    target: flags.Target = None,
    sections: flags.Sections = None,
    no_images: flags.NoImages = None,
    profile: flags.Profile = None,
    encoder: flags.Encoder = None,
    encoder_weights: flags.EncoderWeights = None,
    microns_per_pixel: flags.MicronsPerPixel = None,
    runtime: flags.Runtime = None,
    seeds: flags.Seeds = None,
    max_epochs: flags.MaxEpochs = None,
    select: flags.Select = None,
    device: flags.Device = None,
    precision: flags.Precision = None,
    workers: flags.Workers = None,
    ray_address: flags.RayAddress = None,
    out: flags.Out = None,
    keep_models: Annotated[
        bool | None, typer.Option("--keep-models/--no-keep-models", help="Whether cells keep their fitted model.")
    ] = None,
    retry_failed: Annotated[
        bool | None, typer.Option("--retry-failed", help="Run cells again that failed before.")
    ] = None,
    plugin: flags.Plugin = None,
    config: flags.Config = None,
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
    from ..settings import read_options

    given = {
        "methods": methods, "dataset": dataset, "data_dir": data_dir, "protocol": protocol, "allow_leaky": allow_leaky,
        "target": target, "sections": sections, "no_images": no_images, "profile": profile, "encoder": encoder,
        "encoder_weights": encoder_weights, "microns_per_pixel": microns_per_pixel, "runtime": runtime, "seeds": seeds,
        "max_epochs": max_epochs, "select": select, "device": device, "precision": precision, "workers": workers,
        "ray_address": ray_address, "out": out, "keep_models": keep_models, "retry_failed": retry_failed, "plugin": plugin,
    }  # fmt: skip
    plan = make_plan(read_options(given, config))
    if dry_run:
        _print_plan(plan, as_json)
        return
    records = execute(plan, make_reporter(quiet or as_json, verbose))
    tables = summarise(records)
    if as_json:
        folders = {cell.task.cell: cell.task.folder for cell in plan.cells}
        print(json.dumps(tables_json(with_ceilings(tables, folders)), indent=1))
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

"""`qbench reproduce`: run a cell again from its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import flags


def add(app: typer.Typer) -> None:
    app.command(
        "reproduce",
        epilog="Example: qbench reproduce runs/demo-patient-counts-*/ridge-A-* \n\n"
        "Equal means the same hash of predictions and the same scores; another machine must land within 0.01 of every "
        "section's PCC and MSE.",
    )(reproduce)


def reproduce(
    cell: Annotated[list[Path], typer.Argument(help="Folders of cells, as 'qbench list runs' names them.")],
    data_dir: flags.DataDir = None,
    dataset: flags.Dataset = None,
    test_on: flags.TestOn = None,
    test_data_dir: flags.TestDataDir = None,
    encoder_weights: flags.EncoderWeights = None,
    plugin: flags.Plugin = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Run cells again from their records and say whether they land on the same numbers; exit 3 when one does not."""
    from ..engine.reporter import make_reporter
    from ..engine.reproduce import TOLERANCE
    from ..engine.reproduce import reproduce as run_again

    found = [
        run_again(
            folder,
            data_dir,
            tuple(encoder_weights or ()),
            dataset,
            tuple(plugin or ()),
            make_reporter(quiet or as_json, False),
            test_on,
            test_data_dir,
        )
        for folder in cell
    ]
    if as_json:
        rows = [
            {
                "cell": r.record.cell,
                "equal": r.equal,
                "within": r.within,
                "largest_difference": r.largest,
                "changed": r.changed,
            }
            for r in found
        ]
        print(json.dumps({"schema": 1, "tolerance": TOLERANCE, "cells": rows}, indent=1))
    else:
        for r in found:
            name = f"{r.record.method.label} · fold {r.record.fold.name} · seed {r.record.seed}"
            verdict = "equal" if r.equal else f"within {TOLERANCE}" if r.within else "NOT reproduced"
            changed = f"; changed since: {'; '.join(r.changed)}" if r.changed else ""
            typer.echo(f"{name}: {verdict} (largest difference {r.largest:.2g}){changed}")
    if not all(r.within for r in found):
        raise typer.Exit(3)

"""`qbench verify`: whether what is stored is what was computed."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from ...names import shown
from . import flags


def add(app: typer.Typer) -> None:
    app.command("verify", epilog="Example: qbench verify runs")(verify)


def verify(
    runs: flags.Runs = Path("runs"), out: flags.Out = None, as_json: flags.Json = False, quiet: flags.Quiet = False
) -> None:
    """Recompute every hash and score from the stored predictions, of a runs folder or a bundle; exit 3 when one does not hold."""
    from ..engine.verify import verify as check
    from ..external.bundle import CONTENTS, verify_bundle
    from .progress import Bars

    folder = out or runs
    with Bars(quiet or as_json) as bars:
        found = verify_bundle(folder) if (folder / CONTENTS).is_file() else check(folder, bars)
    if as_json:
        problems = [{"cell": problem.cell, "message": problem.message} for problem in found.problems]
        print(json.dumps({"schema": 1, "cells": found.cells, "failed": found.failed, "problems": problems}, indent=1))
    else:
        for problem in found.problems:
            typer.echo(shown(f"{problem.cell}: {problem.message}", keep=""))
        failed = f", {found.failed} failed cells have nothing to hold" if found.failed else ""
        typer.echo(f"{found.cells} cells verified, {len(found.problems)} problems{failed}")
    if found.problems:
        raise typer.Exit(3)

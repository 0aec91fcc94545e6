"""`qbench doctor`: what of this machine helps or hinders, a line each, with the fix."""

from __future__ import annotations

import json

import typer

from . import flags


def add(app: typer.Typer) -> None:
    app.command("doctor", epilog="Example: qbench doctor --data-dir her2st")(doctor)


def doctor(data_dir: flags.DataDir = None, encoder: flags.Encoder = None, as_json: flags.Json = False) -> None:
    """Check the installation, the default encoder's weights, the cache and the data; exit 1 when something fails."""
    from .checkup import examine

    findings = examine(data_dir, encoder)
    if as_json:
        rows = [{"check": f.check, "status": f.status, "found": f.found, "fix": f.fix} for f in findings]
        print(json.dumps({"schema": 1, "findings": rows}, indent=1))
    else:
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        colours = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}
        for finding in findings:
            console.print(f"[{colours[finding.status]}]{finding.status}[/]", end=" ")
            console.print(
                f"{finding.check}: {finding.found}" + (f" - {finding.fix}" if finding.fix else ""), markup=False
            )
    if any(finding.status == "FAIL" for finding in findings):
        raise typer.Exit(1)

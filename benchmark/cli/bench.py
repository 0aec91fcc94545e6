"""`qbench bench`: what qbench does beside what a user would otherwise write, measured on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from . import flags

if TYPE_CHECKING:
    from ..timing.measure import Row

NAMES = ("encode", "train", "retrieve", "score", "sweep", "read", "predict")
EPILOG = """Examples:

qbench bench encode

qbench bench encode --runtime eager

qbench bench train --profile paper

qbench bench score --json"""


def add(app: typer.Typer) -> None:
    app.command("bench", epilog=EPILOG)(bench)


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Of {', '.join(NAMES)}; all if none is given.")
    ] = None,
    runtime: flags.Runtime = None,
    device: flags.Device = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Of train: fast (default), or paper: fp32 and bf16, half an hour.")
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Time qbench beside the plain alternative: medians of five alternating runs, the ratio, and the share of the machine's limit."""
    from ..timing.catalogue import measure

    found: list[Row] = []
    for name in names or NAMES:
        found += measure(name, runtime or "auto", device or "auto", profile or "fast")
    if as_json:
        print(json.dumps({"schema": 1, "rows": [row.as_dict() for row in found]}, indent=1))
    else:
        _print(found)


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "ours", "plain", "ratio", "unit", "of the limit", box=None, pad_edge=False)
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.1f}"
        share = "-" if row.limit_share is None else f"{100 * row.limit_share:.0f} %"
        table.add_row(row.name, _figure(row.ours), _figure(row.plain), ratio, row.unit, share)
    Console(highlight=False).print(table)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

"""`qbench bench`: what qbench does beside what a user would otherwise write, measured on this machine."""

from __future__ import annotations

import json
from pathlib import Path
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

qbench bench score --json

qbench bench train --profile paper --against public --to public

qbench bench train --against public"""


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
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="public|DIR",
            help="Of train: with --to the shapes to time public code at are written; DIR holds the figures that came of it.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="With --against public: where shapes and script go.")
    ] = None,
    as_json: flags.Json = False,
) -> None:
    """Time qbench beside the plain alternative: medians of five alternating runs, the ratio, and the share of the machine's limit."""
    from ..timing.catalogue import measure

    if against is not None:
        _against(names or [], against, to, profile or "fast", device or "auto", as_json)
        return
    found: list[Row] = []
    for name in names or NAMES:
        found += measure(name, runtime or "auto", device or "auto", profile or "fast")
    _show(found, as_json)


def _against(names: list[str], against: str, to: Path | None, profile: str, device: str, as_json: bool) -> None:
    """Write what public code is to be timed at, or show what came of it.

    Raises:
        ConfigurationError: another benchmark than train.
    """
    from ...errors import ConfigurationError
    from ..timing import public

    if names != ["train"]:
        raise ConfigurationError("Expected train alone with --against, whose methods have public code; name it.")
    if to is None:
        _show(public.rows(Path(against)), as_json, beside="public")
        return
    if against != "public":
        raise ConfigurationError(
            f"Expected --against public with --to, found --against {against}; leave out --to to read a folder."
        )
    for one in public.write_shapes(to, profile, device):
        print(f"{one.path.name}: {one.seconds:.4g} s an epoch of ours.")
        print(f"    git clone {one.code}, write ADAPTER.py with build(shapes), which returns step(spots), then")
        print(f"    python {to / 'time_public.py'} {one.path} ADAPTER.py --code CLONE")
    print(f"Then `qbench bench train --against {to}` shows ours, public and their ratio.")


def _show(found: list[Row], as_json: bool, beside: str = "plain") -> None:
    if as_json:
        print(json.dumps({"schema": 1, "rows": [row.as_dict() for row in found]}, indent=1))
    else:
        _print(found, beside)


def _print(rows: list[Row], beside: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "ours", beside, "ratio", "unit", "of the limit", box=None, pad_edge=False)
    for row in rows:
        ratio = "-" if row.ratio is None else f"{row.ratio:.1f}"
        share = "-" if row.limit_share is None else f"{100 * row.limit_share:.0f} %"
        table.add_row(row.name, _figure(row.ours), _figure(row.plain), ratio, row.unit, share)
    Console(highlight=False).print(table)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

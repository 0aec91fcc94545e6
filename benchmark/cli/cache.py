"""`qbench cache`: what is kept of counts, patches and features, whether it is sound, and how to free its space."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import flags


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="The cache of counts, patches, features and panels.", no_args_is_help=True)
    group.command("ls", epilog="Example: qbench cache ls --json")(ls)
    group.command("verify", epilog="Example: qbench cache verify")(verify)
    group.command("gc", epilog="Example: qbench cache gc --max-gb 5")(gc)
    app.add_typer(group, name="cache")


def ls(as_json: flags.Json = False) -> None:
    """List the entries by kind, with their sizes."""
    from ...datasets.cache import ArrayCache

    cache = ArrayCache()
    entries = cache.entries()
    if as_json:
        rows = [{"kind": e.kind, "key": e.key, "bytes": e.size, "problem": e.problem} for e in entries]
        print(json.dumps({"schema": 1, "root": str(cache.root), "entries": rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    kinds = sorted({entry.kind for entry in entries})
    table = Table(title=f"Cache in {cache.root}", title_justify="left")
    for header, justify in (("kind", "left"), ("entries", "right"), ("MB", "right"), ("unusable", "right")):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    for kind in kinds:
        own = [entry for entry in entries if entry.kind == kind]
        table.add_row(
            kind, str(len(own)), f"{sum(e.size for e in own) / 1e6:.1f}", str(sum(bool(e.problem) for e in own))
        )
    Console(highlight=False).print(table)


def verify(as_json: flags.Json = False) -> None:
    """Hash every byte of every entry; remove the damaged, which are made anew when needed, and exit 3."""
    from ...datasets.cache import ArrayCache

    cache = ArrayCache()
    entries = cache.verify()
    damaged = [entry for entry in entries if entry.problem]
    for entry in damaged:
        cache.remove(entry.kind, entry.key)
    if as_json:
        rows = [{"kind": e.kind, "key": e.key, "problem": e.problem} for e in damaged]
        print(json.dumps({"schema": 1, "checked": len(entries), "damaged": rows}, indent=1))
    else:
        for entry in damaged:
            typer.echo(f"{entry.kind}/{entry.key}: {entry.problem}")
        typer.echo(f"{len(entries)} entries checked, {len(damaged)} damaged" + (" and removed" if damaged else ""))
    if damaged:
        raise typer.Exit(3)


def gc(
    max_gb: Annotated[
        float | None, typer.Option("--max-gb", min=0, help="Then remove the longest unused above this size.")
    ] = None,
) -> None:
    """Remove what killed processes left and what cannot be used, then the oldest above a size."""
    from ...datasets.cache import ArrayCache

    gone = ArrayCache().gc(None if max_gb is None else int(max_gb * 1e9))
    typer.echo(f"removed {len(gone.entries)} entries and {gone.leftovers} leftovers, {gone.size / 1e6:.1f} MB")

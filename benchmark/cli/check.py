"""`qbench check`: the contract test of a method."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from . import flags


def add(app: typer.Typer) -> None:
    app.command(
        "check",
        epilog="Examples:\n\nqbench check my.py:MyMethod\n\nqbench check ridge\n\nqbench check qca --profile paper",
    )(check)


def check(
    method: Annotated[str, typer.Argument(help="FILE.py:Class, package.module:Class, or the name of a method.")],
    profile: flags.Profile = None,
    plugin: flags.Plugin = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Test whether a method keeps its contract: a tick or a cross for each promise, with the fix."""
    from ...methods.registry import parse
    from ..contract.check import check_method
    from ..plugins import load_plugins
    from .progress import Bars

    load_plugins(plugin or ())
    name = load_plugins([method])[0] if ":" in method.split("[")[0] else method
    spec = parse(name, profile or "fast")
    with Bars(quiet or as_json) as bars:
        results = check_method(spec, bars)
    broken = [result for result in results if result.status == "broken"]
    if as_json:
        print(
            json.dumps(
                {"schema": 1, "method": spec.label, "kept": not broken, "promises": [asdict(r) for r in results]},
                indent=1,
            )
        )
    else:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        console.print(Text(f"{spec.label} ({spec.profile}, {spec.origin})", style="bold"))
        marks = {"kept": ("✓", "green"), "broken": ("✗", "red"), "not tried": ("–", "dim")}
        for result in results:
            mark, colour = marks[result.status]
            line = Text.assemble((f"{mark} ", colour), result.promise)
            if result.status == "broken":
                line.append(f": {result.detail}.", style="red")
            elif result.detail:
                line.append(f" ({result.detail})", style="dim")
            console.print(line, soft_wrap=True)
        total = sum(result.status == "kept" for result in results)
        use = f"; run it with --plugin {method}" if ":" in method and not broken else ""
        console.print(f"{total} of {len(results)} promises kept{use}", markup=False)
    if broken:
        raise typer.Exit(1)

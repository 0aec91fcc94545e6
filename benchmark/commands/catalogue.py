"""`qbench list` and `qbench info`: what there is, by name, and what each thing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import unknown
from . import flags

KINDS = ("methods", "datasets", "encoders", "protocols", "metrics", "runs")


def add(app: typer.Typer) -> None:
    app.command("list", epilog="Examples:\n\nqbench list\n\nqbench list methods --json")(list_)
    app.command("info", epilog="Examples:\n\nqbench info qca\n\nqbench info her2st\n\nqbench info efficientnet_lite0")(
        info
    )


def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all but runs without it.")] = None,
    out: flags.Out = None,
    plugin: flags.Plugin = None,
    as_json: flags.Json = False,
) -> None:
    """List methods, datasets, encoders, protocols, or what a runs folder holds."""
    from ..plugins import load_plugins

    if kind is not None and kind not in KINDS:
        raise unknown("list", kind, KINDS)
    load_plugins(plugin or ())
    rows = {name: _LISTS[name]() for name in ([kind] if kind else KINDS[:-1]) if name != "runs"}
    if kind == "runs":
        rows["runs"] = _runs(out or Path("runs"))
    if as_json:
        print(json.dumps({"schema": 1, **rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for name, entries in rows.items():
        table = Table(title=name, title_justify="left", box=None, pad_edge=False)
        for header in entries[0] if entries else ("none",):
            table.add_column(header, overflow="fold", style="bold" if header == "name" else "")
        for entry in entries:
            table.add_row(*(str(value) for value in entry.values()))
        console.print(table)
        console.print()


def info(
    name: Annotated[str, typer.Argument(help="A method, dataset, encoder or protocol.")],
    plugin: flags.Plugin = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A method as the page of docs/methods.")] = False,
    as_json: flags.Json = False,
) -> None:
    """What a method, dataset, encoder or protocol is: sources, parameters with ranges, departures from the publication."""
    from ...datasets import protocol as protocols
    from ...datasets import registry as datasets
    from ...methods import registry as methods
    from ...methods.encoders import registry as encoders
    from ..method_page import method_info, method_markdown
    from ..plugins import load_plugins

    load_plugins(plugin or ())
    if markdown and name in methods.names():
        print(method_markdown(name), end="")
        return
    if name in methods.names():
        found = method_info(name)
    elif name in datasets.names() or name.endswith((".yaml", ".yml")):
        found = {"dataset": name, **datasets.card(name).model_dump(mode="json")}
    elif name in encoders.names():
        found = {"encoder": name, **encoders.card(name).model_dump(mode="json")}
    elif name in protocols.names():
        found = {"protocol": name, **protocols.read_protocol(name).model_dump(mode="json")}
    else:
        everything = [*methods.names(), *datasets.names(), *encoders.names(), *protocols.names()]
        raise unknown("method, dataset, encoder or protocol", name, everything)
    if as_json:
        print(json.dumps({"schema": 1, **found}, indent=1))
    else:
        _show(found)


def _methods() -> list[dict[str, Any]]:
    from ...methods import registry

    return [
        {
            "name": name,
            "kind": registry.method_class(name).kind,
            "what": registry.card(name).title,
            "origin": registry.origin(name),
        }
        for name in registry.names()
    ]


def _datasets() -> list[dict[str, Any]]:
    from ...datasets import registry

    return [
        {
            "name": name,
            "what": registry.card(name).title,
            "simulated": "yes" if registry.card(name).simulated else "no",
            "origin": registry.origin(name),
        }
        for name in registry.names()
    ]


def _encoders() -> list[dict[str, Any]]:
    from ...methods.encoders import registry

    return [
        {
            "name": name,
            "what": (card := registry.card(name)).title,
            "licence": card.licence,
            "origin": registry.origin(name),
        }
        for name in registry.names()
    ]


def _protocols() -> list[dict[str, Any]]:
    from ...datasets import protocol

    return [{"name": name, "what": protocol.read_protocol(name).title} for name in protocol.names()]


def _runs(folder: Path) -> list[dict[str, Any]]:
    from ...leaderboard.record import find_records

    return [
        {
            "cell": path.name,
            "method": record.method.label,
            "protocol": path.parent.name,
            "status": record.status,
            "started": record.started,
        }
        for path, record in find_records(folder)
    ]


def _metrics() -> list[dict[str, Any]]:
    from ..metrics import metrics

    own = [
        {"name": "pcc", "what": "Pearson correlation over a section's spots, per gene", "origin": "qbench"},
        {"name": "mse", "what": "mean squared error in target space, per gene", "origin": "qbench"},
    ]
    return [
        *own,
        *(
            {"name": metric.name, "what": " ".join((metric.function.__doc__ or "").split()), "origin": metric.origin}
            for metric in metrics()
        ),
    ]


_LISTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "methods": _methods,
    "datasets": _datasets,
    "encoders": _encoders,
    "protocols": _protocols,
    "metrics": _metrics,
}


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    parameters = found.pop("parameters", [])
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in found.items():
        if value not in (None, [], {}, ""):
            table.add_row(key.replace("_", " "), Text(_words(value)))
    console.print(table)
    if not parameters:
        return
    console.print()
    profiles = [key for key in parameters[0] if key not in ("name", "values", "what", "source")]
    grid = Table(title="parameters", title_justify="left")
    for header in ("name", *profiles, "may be", "what it is, and where the value is from"):
        grid.add_column(header, overflow="fold", style="bold" if header == "name" else "")
    for parameter in parameters:
        sources = dict.fromkeys(parameter["source"].values())
        what = " ".join([parameter["what"], *(f"[{source}]" for source in sources)])
        grid.add_row(
            parameter["name"], *(_words(parameter[p]) for p in profiles), Text(parameter["values"]), Text(what)
        )
    console.print(grid)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_words(inner)}" for key, inner in value.items() if inner not in (None, [], {}))
    if isinstance(value, list):
        long = any(isinstance(item, dict | list) or len(str(item)) > 24 for item in value)
        return "\n".join(f"- {_words(item)}" for item in value) if long else ", ".join(map(str, value))
    return str(value)

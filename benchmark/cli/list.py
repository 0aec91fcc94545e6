"""`qbench list`: what there is, by name, and who brought it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ConfigurationError, QbenchError, unknown
from ...names import shown
from ...registries import Registry, installed
from . import flags
from .damage import naming_damage

KINDS = ("methods", "datasets", "encoders", "protocols", "metrics", "readers", "runs")


def add(app: typer.Typer) -> None:
    app.command("list", epilog="Examples:\n\nqbench list\n\nqbench list methods --json")(list_)


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
    if kind == "runs" and out is not None and not out.is_dir():
        raise ConfigurationError(f"Expected a runs folder at {out}, found none; check --out.")
    kinds = [kind] if kind else list(KINDS[:-1])
    if kind == "runs":
        with naming_damage() as damaged:
            _show({kind: _runs(out or Path("runs"), damaged)}, as_json)
        return
    rows = {name: _protocols() if name == "protocols" else _rows(name) for name in kinds}
    for sentence in _refused(kinds):
        typer.echo(sentence, err=True)
    _show(rows, as_json)


def _show(rows: dict[str, list[dict[str, Any]]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"schema": 1, **rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for name, entries in rows.items():
        table = Table(title=name, title_justify="left", box=None, pad_edge=False)
        for header in entries[0] if entries else ("none",):
            table.add_column(header, overflow="fold", style="bold" if header == "name" else "")
        for entry in entries:
            table.add_row(*(Text(shown(str(value))) for value in entry.values()))
        console.print(table)
        console.print()


def _rows(kind: str) -> list[dict[str, Any]]:
    """A row for each name of a kind; one whose package is broken says so and stands in no other's way."""
    registry, tell, columns = _LISTS[kind]()
    rows = []
    for name in registry.names():
        try:
            told = tell(name)
        except QbenchError as error:
            told = {**dict.fromkeys(columns, "?"), "what": f"broken: {error}"}
        rows.append({"name": name, **told, "origin": told.get("origin", registry.origin(name))})
    return sorted(rows, key=lambda row: row.get("group", ""))


def _refused(kinds: Iterable[str]) -> list[str]:
    registries = [_LISTS[kind]()[0] for kind in kinds if kind in _LISTS]
    refused = [sentence for registry in registries for name in registry.shipped for sentence in registry.refused(name)]
    return [*refused, *(installed()[1] if registries else ())]


def _methods() -> Telling:
    from ...methods import registry

    def tell(name: str) -> dict[str, Any]:
        return {"kind": registry.method_class(name).kind, "what": registry.card(name).title}

    return registry.METHODS, tell, ("kind", "what")


def _datasets() -> Telling:
    from ...datasets import registry

    def tell(name: str) -> dict[str, Any]:
        card = registry.card(name)
        return {"what": card.title, "simulated": "yes" if card.simulated else "no"}

    return registry.DATASETS, tell, ("what", "simulated")


def _encoders() -> Telling:
    from ...methods.encoders import registry

    def tell(name: str) -> dict[str, Any]:
        card = registry.card(name)
        return {"group": card.access, "what": card.title, "licence": card.licence}

    return registry.ENCODERS, tell, ("group", "what", "licence")


def _metrics() -> Telling:
    from ..scoring.plugin_metrics import METRICS, load_metric

    own = {
        "pcc": "Pearson correlation over a section's spots, per gene",
        "mse": "mean squared error in target space, per gene",
    }

    def tell(name: str) -> dict[str, Any]:
        if name in own:
            return {"what": own[name]}
        metric = load_metric(name)
        return {"what": " ".join((metric.function.__doc__ or "").split()), "origin": metric.origin}

    return METRICS, tell, ("what",)


def _readers() -> Telling:
    from ...datasets.readers.registry import READERS

    own = {
        "h5ad": "AnnData files that the card lists",
        "hest": "HEST-1k samples that the card lists",
        "tables": "tables of counts and spots that the card lists",
        "visium": "Space Ranger folders that the card lists",
        "her2st": "a folder of HER2ST's public files",
        "demo": "simulated sections, made at the first use",
        "demo-shifted": "others of a second laboratory and scanner, made likewise",
    }

    def tell(name: str) -> dict[str, Any]:
        return {"what": own.get(name) or " ".join((READERS.load(name, lambda value: value).__doc__ or "").split())}

    return READERS, tell, ("what",)


def _protocols() -> list[dict[str, Any]]:
    from ...datasets import protocol

    return [{"name": name, "what": protocol.read_protocol(name).title} for name in protocol.names()]


def _runs(folder: Path, damaged: Callable[[str], None]) -> list[dict[str, Any]]:
    from ...leaderboard.record import find_records

    return [
        {
            "cell": path.name,
            "method": record.method.label,
            "protocol": path.parent.name,
            "status": record.status,
            "started": record.started,
        }
        for path, record in find_records(folder, damaged)
    ]


Telling = tuple[Registry, Callable[[str], dict[str, Any]], tuple[str, ...]]  # what there is, a name's row, its columns
_LISTS: dict[str, Callable[[], Telling]] = {
    "methods": _methods,
    "datasets": _datasets,
    "encoders": _encoders,
    "metrics": _metrics,
    "readers": _readers,
}

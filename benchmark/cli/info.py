"""`qbench info`: what a method, dataset, encoder or protocol is; of a method also the page of docs/methods."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import unknown
from . import flags

if TYPE_CHECKING:
    from pydantic import BaseModel


def add(app: typer.Typer) -> None:
    app.command("info", epilog="Examples:\n\nqbench info qca\n\nqbench info her2st\n\nqbench info efficientnet_lite0")(
        info
    )


def info(
    name: Annotated[str, typer.Argument(help="A method, dataset, encoder or protocol.")],
    plugin: flags.Plugin = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="A method as the page of docs/methods.")] = False,
    as_json: flags.Json = False,
) -> None:
    """What a method, dataset, encoder or protocol is: sources, parameters with ranges, departures from the publication."""
    from ..plugins import load_plugins

    load_plugins(plugin or ())
    kinds = _kinds_of(name)
    if markdown and "method" in kinds:
        print(method_markdown(name), end="")
        return
    first, *others = (_about(kind, name) for kind in kinds)
    if as_json:
        print(json.dumps({"schema": 1, **first, **({"also": others} if others else {})}, indent=1))
        return
    _show(first)
    for found in others:
        print()
        _show(found)


def _about(kind: str, name: str) -> dict[str, Any]:
    from ...datasets.protocol import read_protocol
    from ...datasets.registry import card
    from ...methods.encoders.registry import card as encoder_card

    if kind == "method":
        return method_info(name)
    read: dict[str, Callable[[str], BaseModel]] = {"dataset": card, "encoder": encoder_card, "protocol": read_protocol}
    return {kind: name, **read[kind](name).model_dump(mode="json")}


def method_info(name: str) -> dict[str, Any]:
    """A method's card, its class and its parameters with values per profile, JSON-able."""
    from ...methods import card as cards
    from ...methods import registry

    card, cls = registry.card(name), registry.method_class(name)
    profiles = card.profiles or {"fast": {}}
    resolved = {profile: registry.values_of(registry.spec(name, profile=profile).parameters) for profile in profiles}
    return {
        "method": name,
        "title": card.title,
        "summary": card.summary,
        "kind": cls.kind,
        "version": cls.version,
        "origin": registry.origin(name),
        "reads": "the whole section at once" if cls.context == "section" else "one spot at a time",
        "paper": None if card.paper is None else card.paper.model_dump(mode="json"),
        "deviations": list(card.deviations),
        "figures": dict(card.figures),
        "parameters": [
            {
                "name": parameter.name,
                "values": parameter.values,
                "what": parameter.description,
                **{profile: resolved[profile].get(parameter.name) for profile in resolved},
                "source": {
                    profile: source
                    for profile, sources in card.sources.items()
                    if (source := sources.get(parameter.name))
                },
            }
            for parameter in cards.parameter_table(cls.Parameters)
        ],
    }


def method_markdown(name: str) -> str:
    """A page of docs/methods."""
    from ...methods.dashes import dashed

    info = method_info(name)
    lines = [f"# {info['title']}", "", f"`{name}`, a {info['kind']}; predicts {info['reads']}. {info['summary']}", ""]
    if info["paper"]:
        paper = info["paper"]
        code = f" Code: {paper['code']}." if paper["code"] else " No public code."
        lines += [f"[{paper['title']}]({paper['url']}). {paper['citation']}.{code}", ""]
    if info["figures"]:
        figures = ", ".join(f"{key} {value:g}" for key, value in info["figures"].items())
        lines += [f"Printed for it in the QCA paper's Table 1 (folds unstated): {figures}.", ""]
    if info["deviations"]:
        lines += ["## Where it departs from the publication", "", *(f"* {text}" for text in info["deviations"]), ""]
    if info["parameters"]:
        profiles = [key for key in info["parameters"][0] if key not in ("name", "values", "what", "source")]
        lines += [
            "## Parameters",
            "",
            "| name | " + " | ".join(profiles) + " | may be | what it is | where the value is from |",
        ]
        lines.append("|---" * (len(profiles) + 4) + "|")
        for parameter in info["parameters"]:
            sources = {p: parameter["source"][p] for p in profiles if p in parameter["source"]}
            if set(sources) == set(profiles) and len(set(sources.values())) == 1:  # said once where it is the same
                said = sources[profiles[0]]
            else:
                said = "; ".join(f"`{profile}`: {source}" for profile, source in sources.items())
            cells = [f"`{parameter['name']}`", *(str(dashed(parameter[p])) for p in profiles)]
            cells += [parameter["values"], parameter["what"], said]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _kinds_of(name: str) -> list[str]:
    """What a name is of, a method and the data of its paper for one; what is ours hides what another package calls so."""
    from ...datasets.protocol import names as protocols
    from ...datasets.registry import DATASETS
    from ...methods.encoders.registry import ENCODERS
    from ...methods.registry import METHODS

    if name.endswith((".yaml", ".yml")):
        return ["dataset"]
    registries = {"method": METHODS, "dataset": DATASETS, "encoder": ENCODERS}
    ours = {**{kind: registry.shipped for kind, registry in registries.items()}, "protocol": protocols()}
    everything = {kind: registry.names() for kind, registry in registries.items()}
    for names in (ours, everything):
        if kinds := [kind for kind, known in names.items() if name in known]:
            return kinds
    raise unknown("method, dataset, encoder or protocol", name, [*chain(*everything.values()), *protocols()])


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
            parameter["name"], *(Text(_words(parameter[p])) for p in profiles), Text(parameter["values"]), Text(what)
        )
    console.print(grid)


def _words(value: Any) -> str:
    if isinstance(value, dict) and value and all(inner is None for inner in value.values()):
        return ", ".join(value)  # names of what has no number
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_words(inner)}" for key, inner in value.items() if inner not in (None, [], {}))
    if isinstance(value, list):
        long = any(isinstance(item, dict | list) or len(str(item)) > 24 for item in value)
        return "\n".join(f"- {_words(item)}" for item in value) if long else ", ".join(map(str, value))
    return str(value)

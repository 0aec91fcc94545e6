"""docs/settings.md, from the settings as they are declared."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel

from ..downstream.settings import DownstreamSettings
from ..settings import RunSettings, commands, words, written
from ..sweep.settings import ReadingsSettings, SweepSettings
from .flags import flag

_START = """# Settings

Each setting is declared once, in `benchmark/settings.py`: the flags of the commands, the arguments of `qbench.run` (with underscores), the
keys of a `--config` file and this page follow from there. The command line wins over the file, the file over the defaults.
"""
_HEADS: dict[type[BaseModel], tuple[str, str]] = {
    RunSettings: ("Of a run", "A `--config` file may hold all of these; a command looks at those that it takes."),
    DownstreamSettings: (
        "Of downstream figures",
        "What stored predictions are good for ([scores.md](scores.md)); on the command line only.",
    ),
    SweepSettings: ("Of a sweep", "Beside those of a run; on the command line only."),
    ReadingsSettings: (
        "Of a search of readings",
        "Of `qbench ablate --readings` beside those of a run; on the command line only.",
    ),
}
_DEFAULTS = {True: "yes", False: "no"}


def settings_markdown() -> str:
    """The whole page."""
    parts = [_START]
    for model, (title, head) in _HEADS.items():
        parts.append(f"## {title}\n\n{head}\n")
        parts.append("| Flag | Values | Default | What it is | Commands |\n|---|---|---|---|---|")
        parts += [_row(model, name) for name in model.model_fields]
        parts.append("")
    return "\n".join(parts)


def _row(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    default = "" if field.default in (None, ()) else _DEFAULTS.get(field.default) or f"`{written(field.default)}`"
    told = words(name, model).partition("; default ")[0].removesuffix(".") + "."
    cells = (f"`{flag(name, model)}`", values(field.annotation, field.metadata), default, told)
    return f"| {' | '.join(cells)} | {', '.join(commands(model, name))} |"


def values(annotation: Any, bounds: list[Any]) -> str:
    """The values of a setting in words: "a whole number from 1"."""
    limits = [
        f"{word} {limit:g}"
        for bound in bounds
        for key, word in (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "to"))
        if (limit := getattr(bound, key, None)) is not None
    ]
    return " ".join([_kind(annotation), " ".join(limits)]).strip()


def _kind(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        return "a list"
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if inner:
        return " or ".join(_kind(part) for part in inner if part is not type(None))
    named = {"bool": "yes or no", "int": "a whole number", "float": "a number", "str": "text", "Path": "a path"}
    return named[annotation.__name__]

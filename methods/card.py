"""What is told about a method: its paper, its departures from it, its profiles, its parameters with their sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..yaml_files import read_model
from .method import Parameters

PROFILES = ("fast", "paper")


class Paper(BaseModel):
    """The publication of a method, and where its authors' code is (None where none is public)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    citation: str
    url: str
    code: str | None = None


class MethodCard(BaseModel):
    """One file of `configs/methods`.

    Attributes:
        summary: what the method is, in a few sentences.
        paper: None for controls.
        deviations: where our implementation departs from the publication or its public code.
        figures: sizes and scores that the paper prints, by name, with their units in the name.
        profiles: parameter values of "fast" and "paper", as written in the file.
        sources: the comment beside each value, by profile and parameter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    summary: str
    paper: Paper | None = None
    deviations: tuple[str, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: dict[str, dict[str, str]] = Field(default_factory=dict)


@dataclass(frozen=True)
class ParameterInfo:
    """One parameter as `qbench info` prints it."""

    name: str
    values: str  # the range or the choices, in words
    default: Any
    description: str


@cache
def shipped_card(name: str) -> MethodCard | None:
    """The card of a method of this package, or None where there is no such file.

    Raises:
        ConfigurationError: a file that is not a method card.
    """
    file = files("qbench.configs") / "methods" / f"{name}.yaml"
    if not file.is_file():
        return None
    card = read_model(file, MethodCard, "a method's card", "configs/methods")
    return card.model_copy(update={"sources": _comments(file.read_text(encoding="utf-8"))})


def parameter_table(parameters: type[Parameters]) -> tuple[ParameterInfo, ...]:
    """Every parameter with its range, default and description, read from the pydantic model."""
    properties = parameters.model_json_schema().get("properties", {})
    return tuple(
        ParameterInfo(
            name=name,
            values=_in_words(properties[name]),
            default=field.get_default(call_default_factory=True),
            description=" ".join((field.description or "").split()),
        )
        for name, field in parameters.model_fields.items()
    )


def values_in_words(parameters: type[Parameters], name: str) -> str:
    """What a parameter may be: "a number from 0 to 1", "one of mse, pcc"."""
    return _in_words(parameters.model_json_schema()["properties"][name])


def _in_words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return f"'{schema['const']}'"
    kind = schema.get("type")
    if kind == "array":
        item = _in_words(schema.get("items", {}))
        least = schema.get("minItems", 0)
        return f"a list such as 8-5-5-5, each {item}" + (f", at least {least} of them" if least else "")
    if kind == "boolean":
        return "true or false"
    noun = {"integer": "a whole number", "number": "a number"}.get(str(kind), "a text")
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f"{noun} from {least:g} to {most:g}"
    limits = [
        f"{word} {bound:g}"
        for word, bound in (("at least", least), ("above", above), ("at most", most), ("below", below))
        if bound is not None
    ]
    return " ".join([noun, " and ".join(limits)]).strip()


def _comments(text: str) -> dict[str, dict[str, str]]:
    """The comment that ends each `    parameter: value  # source` line below `profiles:`, by profile."""
    found: dict[str, dict[str, str]] = {}
    profile = ""
    inside = False
    for line in text.splitlines():
        if re.match(r"\S", line):
            inside = line.startswith("profiles:")
        elif inside and (head := re.match(r"  (\w+):", line)):
            profile = head[1]
        elif inside and (entry := re.match(r"    (\w+):.*?\s#\s*(.+)$", line)):
            found.setdefault(profile, {})[entry[1]] = entry[2].strip()
    return found

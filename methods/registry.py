"""Methods by name, with settings: `qca[alpha=0.5,fsq_levels=8-5-5-5]` becomes a `MethodSpec`. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..errors import ConfigurationError, close_to, reading, short, unknown
from ..registries import HERE, Registry
from ..text_files import read_json
from .card import PROFILES, MethodCard, shipped_card, values_in_words
from .dashes import dashed
from .method import Method, Parameters

METHODS = Registry(
    "method",
    "qbench.methods",
    {
        "qca": "qbench.methods.qca.method:QCA",
        "stnet": "qbench.methods.stnet.method:STNet",
        "histogene": "qbench.methods.histogene.method:HisToGene",
        "hist2st": "qbench.methods.hist2st.method:Hist2ST",
        "thitogene": "qbench.methods.thitogene.method:THItoGene",
        "bleep": "qbench.methods.bleep.method:BLEEP",
        "triplex": "qbench.methods.triplex.method:Triplex",
        "deepspot": "qbench.methods.deepspot.method:DeepSpot",
        "istar": "qbench.methods.istar.method:IStar",
        "xfuse": "qbench.methods.xfuse.method:XFuse",
        "mean": "qbench.methods.controls.mean:Mean",
        "ridge": "qbench.methods.controls.ridge:Ridge",
        "pca-ridge": "qbench.methods.controls.pca_ridge:PcaRidge",
        "mlp": "qbench.methods.controls.mlp:Mlp",
        "knn": "qbench.methods.controls.knn:NearestNeighbours",
        "colour": "qbench.methods.controls.ridge:Colour",
        "untrained": "qbench.methods.controls.ridge:Untrained",
        "coordinates": "qbench.methods.controls.position:Coordinates",
        "context": "qbench.methods.controls.position:Context",
        "label": "qbench.methods.controls.label:Label",
        "shuffled": "qbench.methods.controls.shuffled:Shuffled",
        "depth": "qbench.methods.controls.oracles:Depth",
        "patient-mean": "qbench.methods.controls.oracles:PatientMean",
    },
)
names = METHODS.names
origin = METHODS.origin
register = METHODS.register


@dataclass(frozen=True)
class MethodSpec:
    """A method as asked for.

    Attributes:
        name: in the registry.
        label: the name and the changed settings, sorted: "qca[alpha=0.5]".
        profile: "fast" or "paper".
        settings: what the user changed from the profile, JSON values.
        target: "module:Class".
        origin: the package that brought it.
        parameters: the validated values, profile and settings together.
    """

    name: str
    label: str
    profile: Literal["fast", "paper"]
    settings: Mapping[str, Any]
    target: str
    origin: str
    parameters: Parameters = field(compare=False)

    @cached_property
    def cls(self) -> type[Method]:
        """The class, imported on first use."""
        return method_class(self.name)

    def build(self) -> Method:
        """A new, unfitted method with these parameters."""
        return self.cls(self.parameters)


def card(name: str) -> MethodCard:
    """What is told about a method; for one of another package, its class's docstring."""
    shipped = shipped_card(name) if origin(name) == HERE else None
    if shipped is not None:
        return shipped
    return MethodCard(title=name, summary=" ".join((method_class(name).__doc__ or "").split()))


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises:
        ConfigurationError: an unknown name, a class that cannot be imported or is no `Method`.
    """
    found = METHODS.load(name, lambda value: value)
    if not (isinstance(found, type) and issubclass(found, Method)):
        entry = METHODS.find(name)
        raise ConfigurationError(
            f"The method {name} of {entry.origin} is {entry.target}, which is not a subclass of qbench's Method; derive it from that."
        )
    return found


def spec(name: str, settings: Mapping[str, Any] | None = None, profile: str = "fast") -> MethodSpec:
    """A method with a profile's values and the user's settings over them.

    Raises:
        ConfigurationError: an unknown method, profile or parameter, or a value out of range.
    """
    entry = METHODS.find(name)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    cls = method_class(name)
    profiles = card(name).profiles
    if profiles and profile not in profiles:
        raise ConfigurationError(f"{name} has no {profile} profile; run it with --profile {next(iter(profiles))}.")
    base = profiles.get(profile) or {}
    start = _validate(name, cls, base)
    chosen = _validate(name, cls, {**base, **(settings or {})})
    before, after = values_of(start), chosen.model_dump(mode="json")
    changed = {key: after[key] for key in sorted(after) if after[key] != before[key]}
    inner = ",".join(f"{key}={_written(value)}" for key, value in changed.items())
    return MethodSpec(
        name=name,
        label=f"{name}[{inner}]" if inner else name,
        profile="paper" if profile == "paper" else "fast",
        settings=changed,
        target=entry.target,
        origin=entry.origin,
        parameters=chosen,
    )


def values_of(parameters: BaseModel) -> dict[str, Any]:
    """Every parameter as a JSON value, those too that are left out of records because nothing reads them beside the others."""
    return {**dict(parameters), **parameters.model_dump(mode="json")}


def parse(text: str, profile: str = "fast") -> MethodSpec:
    """`name` or `name[parameter=value,...]` as a spec; errors as in `spec`."""
    name, bracket, rest = text.strip().partition("[")
    settings: dict[str, str] = {}
    if bracket:
        if not rest.endswith("]"):
            raise ConfigurationError(
                f"Expected '{short(name)[1:-1]}[parameter=value,...]', found {short(text)}; close the bracket."
            )
        for part in split_list(rest[:-1]):
            key, equals, value = part.partition("=")
            if not equals or not key.strip():
                raise ConfigurationError(f"Expected parameter=value in {short(text)}, found {short(part)}.")
            if key.strip() in settings:
                raise ConfigurationError(
                    f"The parameter {short(key.strip())} is given twice in {short(text)}; give it once."
                )
            settings[key.strip()] = value.strip()
    return spec(name.strip(), settings, profile)


def parse_list(texts: Iterable[str], profile: str = "fast") -> list[MethodSpec]:
    """Several lists such as "qca[alpha=0.5],bleep", in order, each label once; commas inside brackets do not split."""
    found = [parse(part, profile) for text in texts for part in split_list(text)]
    return list({each.label: each for each in found}.values())


def load_method(directory: Path) -> Method:
    """The fitted method that `Method.save` wrote into a directory, of whatever kind it is.

    Raises:
        DataError: no saved method there.
        MethodError: one of another version.
        ConfigurationError: its class is not installed.
    """
    path, what, remedy = Path(directory) / "method.json", "a saved method", "name the folder 'model' of a cell"
    with reading(what, path, remedy):
        name = str(read_json(path, what, remedy)["name"])
    return method_class(name).load(Path(directory))


def split_list(text: str) -> list[str]:
    """Split at commas outside brackets: "a,b[x=1,y=2]" -> ["a", "b[x=1,y=2]"]."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(dashed(value))


def _validate(name: str, cls: type[Method], values: Mapping[str, Any]) -> Parameters:
    try:
        return cls.Parameters.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        parameter = str(first["loc"][0]) if first["loc"] else ""
        if not parameter:
            raise ConfigurationError(f"{name}: {str(first['msg']).removeprefix('Value error, ')}.") from error
        if parameter not in cls.Parameters.model_fields:
            raise unknown(f"parameter of {name}", parameter, cls.Parameters.model_fields) from error
        expected, written = values_in_words(cls.Parameters, parameter), _written(values[parameter])
        choices = expected.removeprefix("one of ").split(", ") if expected.startswith("one of ") else ()
        if first["type"] == "value_error":  # a validator of the parameter's own says more than its range
            expected += f" ({str(first['msg']).removeprefix('Value error, ')})"
        raise ConfigurationError(
            f"{name}: expected {parameter} to be {expected}, found {short(written)}."
            f"{close_to(written, choices)} `qbench info {name}` lists its parameters."
        ) from error

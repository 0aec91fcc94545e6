"""The flags of the commands: those of settings follow from the settings, others that several commands share stand here."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union

import typer
from pydantic import BaseModel

from ..read_settings import read_as
from ..settings import RunSettings, commands, words


def option(name: str, model: type[BaseModel] = RunSettings) -> Any:
    """The option of a setting: its flag, and its description with the default."""
    field = model.model_fields[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    more = [str(extra["short_flag"])] if extra["short_flag"] else []
    metavar = "NAME=FILE|random" if name == "encoder_weights" else None
    return typer.Option(flag(name, model), *more, help=words(name, model).replace("[", "\\["), metavar=metavar)


def flag(name: str, model: type[BaseModel] = RunSettings) -> str:
    """How a setting is written; one that holds unless it is switched off has a second form."""
    own = "--" + name.replace("_", "-")
    return f"{own}/--no-{own[2:]}" if model.model_fields[name].default is True else own


def kind(name: str, model: type[BaseModel]) -> Any:
    """The type in which typer reads a setting; whether a value is one of the allowed is for the settings to say."""
    annotation = model.model_fields[name].annotation
    if typing.get_origin(annotation) is tuple:
        return list[str] | None
    parts = typing.get_args(annotation) if typing.get_origin(annotation) in (Union, UnionType) else (annotation,)
    own = [part for part in parts if part is not type(None)]
    return own[0] | None if len(own) == 1 and own[0] in (bool, int, float, Path) else str | None


def taking(command: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose parameters of settings are spread into an option for each setting that it takes.

    The function gets the settings as one value each, with --config read where it takes those of a run.
    """

    def spread(function: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        taken: dict[str, tuple[type[BaseModel], list[str]]] = {}
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            model = parameter.annotation
            if not (isinstance(model, type) and issubclass(model, BaseModel)):
                parameters.append(parameter)
                continue
            names = [name for name in model.model_fields if command in commands(model, name)]
            taken[parameter.name] = (model, names)
            hints: dict[str, Any] = {name: Annotated[kind(name, model), option(name, model)] for name in names}
            if model is RunSettings:
                hints["config"] = Config
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
                for name, hint in hints.items()
            ]

        def call(**values: Any) -> None:
            for parameter, (model, names) in taken.items():
                given = {name: values.pop(name) for name in names}
                config = values.pop("config") if model is RunSettings else None
                values[parameter] = read_as(model, given, config, command)
            function(**values)

        call.__name__, call.__doc__ = function.__name__, function.__doc__
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    return spread


# Settings that other commands take one by one.
Dataset = Annotated[str | None, option("dataset")]
DataDir = Annotated[Path | None, option("data_dir")]
Sections = Annotated[list[str] | None, option("sections")]
TestOn = Annotated[str | None, option("test_on")]
TestDataDir = Annotated[Path | None, option("test_data_dir")]
Profile = Annotated[str | None, option("profile")]
Encoder = Annotated[str | None, option("encoder")]
EncoderWeights = Annotated[list[str] | None, option("encoder_weights")]
Runtime = Annotated[str | None, option("runtime")]
Device = Annotated[str | None, option("device")]
Out = Annotated[Path | None, option("out")]
Plugin = Annotated[list[str] | None, option("plugin")]

Config = Annotated[Path | None, typer.Option("--config", help="YAML with the same names; the command line wins.")]
Runs = Annotated[Path, typer.Argument(help="The runs folder.")]
Reference = Annotated[str, typer.Option("--reference", help="The row that all others are compared with.")]
Genes = Annotated[str | None, typer.Option("--genes", help="Genes to draw, with commas: PTPRF,TRAF4,ERBB2.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: every epoch.")]

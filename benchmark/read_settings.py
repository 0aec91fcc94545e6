"""The settings of a command read: what its line gives, over a --config file, over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from ..errors import ConfigurationError, unknown
from .settings import RunSettings

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(given: Mapping[str, Any], config: Path | None = None) -> RunSettings:
    """The settings of a run; see `read_as`."""
    return read_as(RunSettings, given, config, "run")


def read_as(model: type[Settings], given: Mapping[str, Any], config: Path | None, command: str) -> Settings:
    """Merge what was given on a command's line (None = not given) over a YAML file over the defaults.

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong kind; names the flag, or the key and the file. One
            encoder and a list of them.
    """
    from ..yaml_files import checked, read_yaml

    values: dict[str, Any] = {}
    if config is not None:
        read = read_yaml(config, "YAML options")
        if not isinstance(read, dict):
            raise ConfigurationError(f"Expected a mapping of options in {config}, found {type(read).__name__}.")
        for key, value in read.items():
            name = str(key).replace("-", "_")
            if name not in model.model_fields:
                raise unknown(f"option in {config.name}", str(key), [f.replace("_", "-") for f in model.model_fields])
            values[name] = value
    stated = {key: value for key, value in given.items() if value not in (None, [], ())}
    if {"encoder", "encoders"} <= {*values, *stated}:
        raise ConfigurationError(
            "Expected one of --encoder and --encoders, found both; leave out --encoder, and name its encoder among --encoders."
        )

    def place(where: tuple[int | str, ...]) -> str:
        option = str(where[0]) if where else "the options"
        flag = option.replace("_", "-")
        return f"{flag} in {config}" if config is not None and option not in stated else f"--{flag}"

    return checked(model, {**values, **stated}, place, f"'qbench {command} --help'")

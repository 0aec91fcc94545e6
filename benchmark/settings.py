"""What a run was asked for: command line over --config file over defaults, checked before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..datasets.target import TargetName
from ..errors import ConfigurationError, short, unknown
from ..methods.encoders.registry import DEFAULT, Weights, parse_weights
from ..methods.registry import split_list
from ..yaml_files import checked, read_yaml

MOST_SEED = 2**32 - 1  # what numpy's and torch's generators both take


class RunOptions(BaseModel):
    """Options of `qbench run`, by the names of the flags with underscores; the same names stand in a --config file.

    Every path is made absolute here, and nowhere else, for cells and trials run in processes and on machines that were
    started in another folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = ()
    dataset: str = "demo"
    data_dir: Path | None = None
    protocol: str = "patient"
    allow_leaky: bool = False
    target: TargetName = "counts"
    sections: tuple[str, ...] = ()
    no_images: bool = False
    profile: Literal["fast", "paper"] = "fast"
    encoder: str = DEFAULT
    encoder_weights: tuple[str, ...] = ()
    microns_per_pixel: float | None = Field(default=None, gt=0)
    runtime: str = "auto"  # see methods.machine.choose_runtime
    seeds: tuple[int, ...] = (0,)
    max_epochs: int | None = Field(default=None, ge=1)
    select: Literal["mse", "pcc"] = "mse"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workers: int | None = Field(default=None, ge=1)
    ray_address: str | None = None
    out: Path = Field(default=Path("runs"), validate_default=True)
    keep_models: bool = True
    retry_failed: bool = False
    plugin: tuple[str, ...] = ()

    @field_validator("methods", "sections", "seeds", "encoder_weights", "plugin", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Lists may be written as one string with commas, outside brackets, or as a sequence of such strings."""
        if isinstance(value, str | int):
            value = [value]
        if isinstance(value, list | tuple):
            return tuple(part for item in value for part in (split_list(item) if isinstance(item, str) else [item]))
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [seed for seed in value if not 0 <= seed <= MOST_SEED]
        if wrong or not value:
            raise ValueError(f"expected seeds from 0 to {MOST_SEED}, found {short(wrong[0]) if wrong else 'none'}")
        return tuple(dict.fromkeys(value))

    @field_validator("data_dir", "out")
    @classmethod
    def _folder(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(absolute(str(value)))

    @field_validator("dataset", "protocol")
    @classmethod
    def _card(cls, value: str) -> str:
        """A name stays as it is."""
        return absolute(value) if value.endswith((".yaml", ".yml")) else value

    @field_validator("plugin")
    @classmethod
    def _plugins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Of FILE.py:Class the file; package.module:Class stays as it is."""
        parts = [plugin.rpartition(":") for plugin in value]
        return tuple(f"{absolute(p[0])}:{p[2]}" if p[0].endswith(".py") else "".join(p) for p in parts)

    @field_validator("encoder_weights")
    @classmethod
    def _weights(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Of NAME=FILE the file; NAME=random and random stay as they are."""
        parts = [weights.rpartition("=") for weights in value]
        return tuple(
            f"{name}={absolute(file)}" if equals and file not in ("", "random") else f"{name}{equals}{file}"
            for name, equals, file in parts
        )

    @property
    def weights(self) -> dict[str, Weights]:
        """`--encoder-weights` by the name of the encoder."""
        return parse_weights(self.encoder_weights)


def absolute(path: str) -> str:
    """A path that holds in every process; "~" is the home folder.

    Raises:
        ValueError: no path of any file.
    """
    if not path or "\0" in path:
        raise ValueError(f"expected a path, found {short(path)}")
    return str(Path(os.path.expanduser(path)).absolute())


def read_options(given: dict[str, Any], config: Path | None) -> RunOptions:
    """Merge what was given on the command line (None = not given) over a YAML file over the defaults.

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong kind; names the flag, or the key and the file.
    """
    values: dict[str, Any] = {}
    if config is not None:
        read = read_yaml(config, "YAML options")
        if not isinstance(read, dict):
            raise ConfigurationError(f"Expected a mapping of options in {config}, found {type(read).__name__}.")
        for key, value in read.items():
            name = str(key).replace("-", "_")
            if name not in RunOptions.model_fields:
                raise unknown(
                    f"option in {config.name}", str(key), [f.replace("_", "-") for f in RunOptions.model_fields]
                )
            values[name] = value
    stated = {key: value for key, value in given.items() if value not in (None, [], ())}

    def place(where: tuple[int | str, ...]) -> str:
        option = str(where[0]) if where else "the options"
        flag = option.replace("_", "-")
        return f"{flag} in {config}" if config is not None and option not in stated else f"--{flag}"

    return checked(RunOptions, {**values, **stated}, place, "'qbench run --help'")

"""What a run was asked for: command line over --config file over defaults, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..datasets.target import TargetName
from ..errors import ConfigurationError, unknown
from ..methods.encoders.registry import DEFAULT, Weights, parse_weights
from ..methods.registry import split_list


class RunOptions(BaseModel):
    """Options of `qbench run`, by the names of the flags with underscores; the same names stand in a --config file."""

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
    out: Path = Path("runs")
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
        if not value or any(seed < 0 for seed in value):
            raise ValueError("expected one or more seeds of 0 or above")
        return tuple(dict.fromkeys(value))

    @property
    def weights(self) -> dict[str, Weights]:
        """`--encoder-weights` by the name of the encoder."""
        return parse_weights(self.encoder_weights)


def read_options(given: dict[str, Any], config: Path | None) -> RunOptions:
    """Merge what was given on the command line (None = not given) over a YAML file over the defaults.

    Raises:
        ConfigurationError: an unknown key, or a value of the wrong kind; names the flag.
    """
    values: dict[str, Any] = {}
    if config is not None:
        try:
            read = yaml.safe_load(config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"Expected YAML options in {config}, but it cannot be read: {error}.") from error
        if not isinstance(read, dict):
            raise ConfigurationError(f"Expected a mapping of options in {config}, found {type(read).__name__}.")
        for key, value in read.items():
            name = str(key).replace("-", "_")
            if name not in RunOptions.model_fields:
                raise unknown(
                    f"option in {config.name}", str(key), [f.replace("_", "-") for f in RunOptions.model_fields]
                )
            values[name] = value
    values.update({key: value for key, value in given.items() if value not in (None, [], ())})
    try:
        return RunOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "the options"
        raise ConfigurationError(
            f"{flag}: {first['msg']}, found {first['input']!r}; see 'qbench run --help'."
        ) from error

"""The space that a sweep searches: a YAML file, checked against the method's typed parameters before anything starts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...errors import ConfigurationError, QbenchError, short
from ...methods.dashes import dashed
from ...methods.registry import MethodSpec, spec, values_of
from ...yaml_files import read_model

MOST_POINTS = 10_000  # of a grid; more is a slip of the pen

Settings = dict[str, Any]  # parameter -> JSON value


class Axis(BaseModel):
    """The values of one parameter: a choice, or a range (uniform, loguniform, integers with both ends).

    `steps` is the number of values that a grid takes from a range, evenly spaced (in the logarithm for loguniform).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice: tuple[Any, ...] | None = None
    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None
    steps: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name in ("choice", "uniform", "loguniform", "integers") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of choice, uniform, loguniform, integers; found {' and '.join(given) or 'none'}"
            )
        if self.choice is not None:
            if not self.choice:
                raise ValueError("expected at least one value to choose from, found an empty list")
            if len({json.dumps(v) for v in self.choice}) < len(self.choice):
                raise ValueError(f"expected different values, found one twice in {short(list(self.choice))}")
            if self.steps is not None:
                raise ValueError("steps belong to a range; a choice takes all its values")
            return self
        low, high = self.ends
        if not low < high:
            raise ValueError(f"expected a range from low to high, found {low:g} to {high:g}")
        if self.loguniform is not None and low <= 0:
            raise ValueError(f"expected a loguniform range above 0, found {low:g} to {high:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of a range."""
        found = self.uniform or self.loguniform or self.integers
        assert found is not None
        return found

    def draw(self, rng: np.random.Generator) -> Any:
        """One value at random, as JSON."""
        if self.choice is not None:
            return self.choice[int(rng.integers(len(self.choice)))]
        low, high = self.ends
        if self.integers is not None:
            return int(rng.integers(int(low), int(high) + 1))
        if self.loguniform is not None:
            return _short(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        return _short(float(rng.uniform(low, high)))

    def grid(self) -> list[Any] | None:
        """The values of a grid, or None for a range without steps."""
        if self.choice is not None:
            return list(self.choice)
        if self.steps is None:
            return None
        low, high = self.ends
        if self.loguniform is not None:
            return [_short(float(v)) for v in np.geomspace(low, high, self.steps)]
        values = np.linspace(low, high, self.steps)
        return (
            sorted({round(v) for v in values.tolist()})
            if self.integers is not None
            else [_short(float(v)) for v in values]
        )

    def contains(self, value: Any) -> bool:
        """Whether a value is one of the choices, or lies between the ends, both included."""
        if self.choice is not None:
            return any(_same(value, choice) for choice in self.choice)
        low, high = self.ends
        return isinstance(value, int | float) and low <= value <= high


class Space(BaseModel):
    """What is searched for one method: an axis for each parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    parameters: dict[str, Axis] = Field(min_length=1)

    def samples(self, n: int, seed: int, base: MethodSpec) -> list[Settings]:
        """`n` different points, the method's own values first where they lie in the space, the rest drawn at random."""
        rng = np.random.default_rng(seed)
        own = values_of(base.parameters)
        found: dict[str, Settings] = {}
        if all(axis.contains(own[name]) for name, axis in self.parameters.items()):
            point = {name: own[name] for name in self.parameters}
            found[_key(base, point)] = point
        for _ in range(100 * n):
            if len(found) >= n:
                break
            point = {name: axis.draw(rng) for name, axis in self.parameters.items()}
            found.setdefault(_key(base, point), point)
        return list(found.values())[:n]

    def grid(self, base: MethodSpec) -> list[Settings]:
        """Every point of the grid.

        Raises:
            ConfigurationError: a range without steps, or more points than anybody means.
        """
        axes = {name: axis.grid() for name, axis in self.parameters.items()}
        for name, values in axes.items():
            if values is None:
                raise ConfigurationError(
                    f"A grid needs the values of {name}, which is a range; add 'steps: N' to it in the space, or give a choice."
                )
        points = int(np.prod([len(values or ()) for values in axes.values()]))
        if points > MOST_POINTS:
            raise ConfigurationError(
                f"The grid has {points:,} points; use --search random --samples N, or fewer steps."
            )
        combined = itertools.product(*(values or () for values in axes.values()))
        found = [dict(zip(axes, values, strict=True)) for values in combined]
        return list({_key(base, point): point for point in found}.values())


def read_space(base: MethodSpec, file: Path | None) -> Space:
    """The space in a file, or the one that comes with the method; checked against the method's parameters.

    Raises:
        ConfigurationError: no space, an empty or contradictory one, another method's, or values that the method
            refuses.
    """
    if file is None:
        shipped = resources.files("qbench.configs").joinpath("sweeps", f"{base.name}.yaml")
        if not shipped.is_file():
            raise ConfigurationError(f"No space comes with {base.name}; write one and name it with --space FILE.")
        space, where = read_model(shipped, Space, "a space", "docs/sweeps.md"), f"configs/sweeps/{base.name}.yaml"
    else:
        space, where = read_model(file, Space, "a space", "docs/sweeps.md"), str(file)
    _check(space, base, where)
    return space


def _check(space: Space, base: MethodSpec, where: str) -> None:
    if space.method != base.name:
        raise ConfigurationError(f"The space in {where} is for {space.method}, not for {base.name}; name its own.")
    fixed = sorted(set(base.settings) & set(space.parameters))
    if fixed:
        raise ConfigurationError(
            f"{base.label} fixes {', '.join(fixed)}, which the space in {where} searches; leave it out of one of the two."
        )
    for name, axis in space.parameters.items():
        values = list(axis.choice) if axis.choice is not None else list(axis.ends)
        for value in values:
            try:
                point(base, {name: value})
            except QbenchError as error:
                raise ConfigurationError(f"The space in {where}: {error}") from error


def point(base: MethodSpec, settings: Mapping[str, Any]) -> MethodSpec:
    """The method with a point's settings over those of `base`.

    Raises:
        ConfigurationError: a parameter or a combination that the method refuses.
    """
    return spec(base.name, {**base.settings, **settings}, base.profile)


def _key(base: MethodSpec, settings: Mapping[str, Any]) -> str:
    """Points that give the method the same parameters are one, however they are written; checks the combination."""
    return json.dumps(point(base, settings).parameters.model_dump(mode="json"), sort_keys=True)


def _short(value: float) -> float:
    """Four significant digits: what is printed is what was run."""
    return float(f"{value:.4g}")


def _same(value: Any, choice: Any) -> bool:
    """Whether a JSON value and one as written in YAML ("8-5-5-5") are the same."""
    return choice in (value, dashed(value))

"""The readings of a method: points that its paper leaves open, each with the ways to read it, and a sample of their combinations."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...errors import ConfigurationError, QbenchError
from ...methods.registry import MethodSpec, names, spec
from ...registries import HERE
from ...yaml_files import read_model
from .space import Axis, Settings, Space

EVERY = 256  # combinations up to which "every" is meant where no number is asked for


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PointReading(_Part):
    """One way to read a point: what it sets, and why the paper allows it; `profiles` in which it can be run."""

    reading: str = Field(min_length=1)
    settings: dict[str, Any] = Field(min_length=1)
    why: str = Field(min_length=1)
    profiles: tuple[Literal["fast", "paper"], ...] = ("fast", "paper")


class OpenPoint(_Part):
    """A point that the paper leaves open: where, what it asks, and its readings, which all set the same parameters."""

    point: str = Field(min_length=1)
    where: str
    asks: str
    readings: tuple[PointReading, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _alike(self) -> Self:
        first = self.readings[0]
        for other in self.readings[1:]:
            if set(other.settings) != set(first.settings):
                raise ValueError(
                    f"expected the readings of {self.point!r} to set the same parameters, {first.reading!r} sets "
                    f"{', '.join(sorted(first.settings))}, found {', '.join(sorted(other.settings))} in {other.reading!r}"
                )
        if len({r.reading for r in self.readings}) < len(self.readings):
            raise ValueError(f"expected different names for the readings of {self.point!r}, found one twice")
        return self


class ReadingsFile(_Part):
    """A file of readings: the multiverse of a method is every combination of one reading a point."""

    method: str
    points: tuple[OpenPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        owner: dict[str, str] = {}
        for point in self.points:
            for parameter in point.readings[0].settings:
                if parameter in owner:
                    raise ValueError(
                        f"expected each parameter in one point, found {parameter} in {owner[parameter]!r} and {point.point!r}"
                    )
                owner[parameter] = point.point
        if len({p.point for p in self.points}) < len(self.points):
            raise ValueError("expected different names for the points, found one twice")
        return self


Names = tuple[str, ...]  # of the reading at each point, in the order of the file


class Multiverse:
    """The points of a file that are open in a method's profile, with the readings that can be run there.

    `own` is what the method does by default. A combination is known by the names of its readings.
    """

    def __init__(self, base: MethodSpec, file: ReadingsFile, where: str) -> None:
        self.base = base
        self.points: tuple[OpenPoint, ...] = ()
        own: list[str] = []
        for point in file.points:
            if set(point.readings[0].settings) & set(base.settings):
                continue  # fixed by the user
            allowed = tuple(r for r in point.readings if base.profile in r.profiles)
            values = {r.reading: _values(base, r.settings, where) for r in allowed}
            defaults = [name for name, found in values.items() if found == _values(base, {}, where)]
            if not defaults:
                raise ConfigurationError(
                    f"The readings in {where}: none of {point.point!r} is what {base.label} does in the {base.profile} profile; "
                    "add that one."
                )
            if len(allowed) > 1:
                self.points += (point.model_copy(update={"readings": allowed}),)
                own.append(defaults[0])
        if not self.points:
            raise ConfigurationError(
                f"The readings in {where}: {base.label} leaves no point open; fix fewer parameters."
            )
        self.own: Names = tuple(own)

    @property
    def size(self) -> int:
        """Combinations that there are."""
        return math.prod(len(point.readings) for point in self.points)

    def settings(self, chosen: Names) -> Settings:
        """All parameters that the points set, with the values of a combination."""
        return {
            name: value
            for point, reading in zip(self.points, chosen, strict=True)
            for name, value in next(r for r in point.readings if r.reading == reading).settings.items()
        }

    def sample(self, n: int | None, seed: int) -> list[Names]:
        """`n` different combinations, the method's own first and the rest drawn evenly; all of them if there are no more.

        Raises:
            ConfigurationError: no `n`, and more combinations than anybody means.
        """
        options = [[r.reading for r in point.readings] for point in self.points]
        if n is None and self.size > EVERY:
            raise ConfigurationError(
                f"{self.base.label} has {self.size:,} combinations of readings; say how many to draw with --samples N."
            )
        if n is None or n >= self.size:
            return list(dict.fromkeys([self.own, *itertools.product(*options)]))
        rng = np.random.default_rng(seed)
        found = {self.own: None}
        while len(found) < n:
            found.setdefault(tuple(o[int(rng.integers(len(o)))] for o in options), None)
        return list(found)

    def space(self) -> Space:
        """The same as a space: for each parameter the values that its readings give it."""
        values: dict[str, list[Any]] = {}
        for point in self.points:
            for reading in point.readings:
                for name, value in reading.settings.items():
                    if value not in values.setdefault(name, []):
                        values[name].append(value)
        return Space(
            method=self.base.name, parameters={n: Axis(choice=tuple(v), steps=None) for n, v in values.items()}
        )


def read_multiverse(base: MethodSpec) -> Multiverse:
    """The readings that come with a method: qbench's own in configs/readings, another package's beside its module.

    Raises:
        ConfigurationError: there are none, another method's, or values that the method refuses.
    """
    file = _file(base)
    found = read_model(file, ReadingsFile, "a file of readings", "docs/sweeps.md")
    where = f"configs/readings/{base.name}.yaml" if base.origin == HERE else str(file)
    if found.method != base.name:
        raise ConfigurationError(f"The readings in {where} are for {found.method}, not for {base.name}; name its own.")
    return Multiverse(base, found, where)


def _file(base: MethodSpec) -> Path | Traversable:
    """configs/readings/NAME.yaml, or readings/NAME.yaml beside the module of a method of another package."""
    shipped = resources.files("qbench.configs").joinpath("readings")
    beside = Path(inspect.getfile(base.cls)).parent / "readings" / f"{base.name}.yaml"
    for file in (shipped.joinpath(f"{base.name}.yaml"), beside):
        if file.is_file():
            return file
    with_readings = [name for name in names() if shipped.joinpath(f"{name}.yaml").is_file()]
    raise ConfigurationError(
        f"No readings come with {base.name}; those of a method of your own lie in {beside}. With readings: "
        f"{', '.join(with_readings)}."
    )


def _values(base: MethodSpec, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parameters of the method under some settings, as JSON."""
    try:
        return spec(base.name, {**base.settings, **settings}, base.profile).parameters.model_dump(mode="json")
    except QbenchError as error:
        raise ConfigurationError(f"The readings in {where}: {error}") from error

"""Metrics of other packages: entry points `qbench.metrics`, computed beside our own scores and kept with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError

GROUP = "qbench.metrics"
PREFIX = "metric:"  # of its column in scores.parquet; its figures are called NAME_all, NAME_hvg, NAME_heg, NAME_mg

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A score of each gene of one section.

    Attributes:
        name: of its figures. function: (truth, prediction), float64 (spots, genes) in target space, the prediction
            clamped at 0
            and unrounded, to float64 (genes,).
        origin: the package, with its version; part of a cell's identity.
    """

    name: str
    function: Callable[[Values, Values], NDArray[Any]]
    origin: str

    def __call__(self, truth: Values, prediction: Values) -> Values:
        """The scores, float64 (genes,).

        Raises:
            ConfigurationError: the metric raises, or returns something else.
        """
        try:
            found = np.asarray(self.function(truth, prediction), dtype=np.float64)
        except Exception as error:
            raise ConfigurationError(
                f"The metric '{self.name}' of {self.origin} raised {type(error).__name__}: {error}; mend or remove "
                "that package."
            ) from error
        if found.shape != (truth.shape[1],) or not np.isfinite(found).all():
            raise ConfigurationError(
                f"The metric '{self.name}' of {self.origin} must return a finite value for each of {truth.shape[1]} "
                "genes, found "
                f"shape {found.shape}{'' if np.isfinite(found).all() else ' with values that are not finite'}; mend "
                "that package."
            )
        return found


@cache
def metrics() -> tuple[Metric, ...]:
    """The metrics of installed packages, by name.

    Raises:
        ConfigurationError: one that cannot be imported or called, or a name that our own figures have.
    """
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        origin = "an installed package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        if not entry.name.isidentifier() or entry.name in ("pcc", "mse"):
            raise ConfigurationError(
                f"The metric '{entry.name}' of {origin} needs a name of letters, digits and _, other than pcc and mse."
            )
        try:
            function = entry.load()
        except Exception as error:
            raise ConfigurationError(
                f"The metric '{entry.name}' of {origin} raised {type(error).__name__} on import: {error}; mend or "
                "remove that package."
            ) from error
        if not callable(function):
            raise ConfigurationError(f"The metric '{entry.name}' of {origin} is {function!r}, which cannot be called.")
        found.append(Metric(entry.name, function, origin))
    return tuple(found)

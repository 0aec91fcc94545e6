"""Metrics of other packages: entry points `qbench.metrics`, computed beside our own scores and kept with them.

A metric adds figures and never takes any: one that cannot be imported is left out of the identity and the figures of what is
planned, and said; one that fails on a section leaves that section's figure empty, with a warning in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError, short
from ...registries import Registry

PREFIX = "metric:"  # of its column in scores.parquet; its figures are called NAME_all, NAME_hvg, NAME_heg, NAME_mg
METRICS = Registry(
    "metric",
    "qbench.metrics",
    {"pcc": "qbench.benchmark.scoring.metrics:pearson", "mse": "qbench.benchmark.scoring.metrics:gene_scores"},
)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A score of each gene of one section.

    Attributes:
        name: of its figures.
        function: (truth, prediction), float64 (spots, genes) in target space, the prediction clamped at 0 and
            unrounded, to float64 (genes,).
        origin: the package, with its version; part of a cell's identity.
    """

    name: str
    function: Callable[[Values, Values], NDArray[Any]]
    origin: str

    def __call__(self, truth: NDArray[Any], prediction: NDArray[Any]) -> Values:
        """The scores, float64 (genes,); the arrays given, (spots, genes), stay as they are.

        Raises:
            ConfigurationError: the metric raises, or returns something else.
        """
        try:
            found = np.asarray(
                self.function(np.array(truth, dtype=np.float64), np.array(prediction, dtype=np.float64)),
                dtype=np.float64,
            )
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"The metric '{self.name}' of {self.origin} raised {type(error).__name__}: "
                f"{' '.join(str(error).split()).rstrip('.')}; mend or remove that package."
            ) from error
        if found.shape != (truth.shape[1],) or not np.isfinite(found).all():
            raise ConfigurationError(
                f"The metric '{self.name}' of {self.origin} must return a finite value for each of {truth.shape[1]} genes, "
                f"found shape {found.shape}{'' if np.isfinite(found).all() else ' with values that are not finite'}; mend "
                "or remove that package."
            )
        return found


def load_metric(name: str) -> Metric:
    """A metric of another package.

    Raises:
        ConfigurationError: an unknown name, one that no figure can have, or what cannot be imported or called.
    """
    entry = METRICS.find(name)
    origin = f"{entry.origin} {entry.version}".rstrip()
    if not name.isidentifier():
        raise ConfigurationError(
            f"Expected the name of a metric of letters, digits and _, found '{name}' of {origin}; rename its entry point."
        )
    function = METRICS.load(name, lambda value: value)
    if not callable(function):
        raise ConfigurationError(
            f"Expected the metric '{name}' of {origin} to be a function, found {short(function)}; mend its entry point."
        )
    return Metric(name, function, origin)


def metrics() -> tuple[Metric, ...]:
    """The metrics of installed packages, by name; without those that cannot be used, see `left_out`."""
    return _brought()[0]


def left_out() -> tuple[str, ...]:
    """A sentence for each metric of an installed package that cannot be used."""
    return _brought()[1]


def metrics_of(identity: Mapping[str, Any]) -> tuple[Metric, ...]:
    """The metrics that a cell's identity promises.

    Raises:
        ConfigurationError: one that is not installed here in the version that was planned.
    """
    here = {metric.name: metric for metric in metrics()}
    promised = identity.get("metrics", {})
    for name, origin in promised.items():
        if name not in here or here[name].origin != origin:
            raise ConfigurationError(
                f"The run is planned with the metric '{name}' of {origin}, which this process does not have; install the "
                f"same packages on every machine. {' '.join(left_out())}".rstrip()
            )
    return tuple(here[name] for name in sorted(promised))


def plugged_scores(
    metrics: Iterable[Metric], truth: NDArray[Any], prediction: NDArray[Any], where: str
) -> tuple[dict[str, Values], list[str]]:
    """Columns of `scores.parquet`, each (genes,), NaN from a metric that fails; and a sentence for each that fails."""
    columns, failures = {}, []
    for metric in metrics:
        try:
            columns[f"{PREFIX}{metric.name}"] = metric(truth, prediction)
        except ConfigurationError as error:
            columns[f"{PREFIX}{metric.name}"] = np.full(truth.shape[1], np.nan)
            failures.append(f"No {metric.name} of {where}: {error}")
    return columns, failures


@cache
def _brought() -> tuple[tuple[Metric, ...], tuple[str, ...]]:
    found, problems = [], []
    for name in METRICS.brought():
        try:
            found.append(load_metric(name))
        except ConfigurationError as error:
            problems.append(f"{error} Its figures are left out.")
    return tuple(found), (*problems, *(claim for name in METRICS.shipped for claim in METRICS.refused(name)))

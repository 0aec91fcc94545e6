"""The averages of the contract: over a patient's sections, then patients; seeds apart, so that each has its spread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .record import Record
from .row import Figure


def collect(
    records: Sequence[Record], seeds: Sequence[int], of: Callable[[Record], Mapping[str, Mapping[str, float | None]]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Figure -> section (or patient) -> values by seed, NaN where missing; folds of one seed are averaged."""
    lists: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(lambda: [[] for _ in seeds]))
    for record in records:
        at = seeds.index(record.seed)
        for unit, figures in of(record).items():
            for name, value in figures.items():
                if value is not None:
                    lists[name][unit][at].append(value)
    return {
        name: {unit: np.array([_mean(v) for v in by_seed]) for unit, by_seed in units.items()}
        for name, units in lists.items()
    }


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else float(np.mean(values)) if values else np.nan


def over_sections(
    values: Mapping[str, NDArray[np.float64]],
    patients: Mapping[str, str] | None,
    names: Sequence[str],
    seeds: Sequence[int],
) -> NDArray[np.float64]:
    """(seeds, patients): the mean over a patient's sections; `patients` None says that the units are patients."""
    cube = np.full((len(seeds), len(names)), np.nan)
    units: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for unit, value in values.items():
        units[unit if patients is None else patients[unit]].append(value)
    for column, name in enumerate(names):
        if name in units:
            cube[:, column] = units[name][0] if len(units[name]) == 1 else mean_of(np.stack(units[name]), axis=0)
    return cube


def figure_of(cube: NDArray[np.float64]) -> Figure:
    """Mean and spreads of a cube (seeds, patients), NaN where a cell is missing."""
    by_patient = mean_of(cube, axis=0)
    by_patient = by_patient[~np.isnan(by_patient)]
    whole = ~np.isnan(cube[:, ~np.isnan(cube).all(axis=0)]).any(axis=1)
    by_seed = mean_of(cube[whole], axis=1)
    return Figure(
        mean=float(by_patient.mean()) if len(by_patient) else None,
        sd_patients=float(by_patient.std(ddof=1)) if len(by_patient) > 1 else None,
        sd_seeds=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
    )


def mean_of(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The mean of what is there; NaN, without a warning, where nothing is."""
    if values.shape[axis] == 1:  # most boards have one seed, and many one section a patient
        return np.asarray(np.take(values, 0, axis=axis), dtype=np.float64)
    there = ~np.isnan(values)
    n = there.sum(axis=axis)
    return np.where(n > 0, np.where(there, values, 0.0).sum(axis=axis) / np.maximum(n, 1), np.nan)


def total_of(values: Mapping[str, NDArray[np.float64]] | None) -> float | None:
    """Sum over sections of a number of pairs, seeds averaged."""
    return None if not values else float(sum(mean_of(v, axis=0) for v in values.values()))


def named(values: NDArray[np.float64], names: Sequence[str]) -> dict[str, float]:
    """Values by name, those that are there."""
    return {name: float(v) for name, v in zip(names, values, strict=True) if not np.isnan(v)}

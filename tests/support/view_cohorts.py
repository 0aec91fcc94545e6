"""Small cohorts whose spots have several views, for tests of methods that look around a spot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from qbench.benchmark.contract.tiny import tiles_from
from qbench.datasets.cohort import Cohort
from qbench.datasets.tiles import SectionTiles, Surroundings

from .method_cohorts import linear_cohort


class ViewStore:
    """Another store, and features of views: the spot's own with noise; some around it are missing."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def patches(self, section: str) -> np.ndarray:
        return self._inner.patches(section)

    def tiles(self, section: str, key: str) -> SectionTiles:
        tile, grid = map(int, key[1:].split("x"))
        return tiles_from(Surroundings(tile, grid), np.asarray(self._inner.patches(section)))

    def features(self, section: str, encoder: str) -> np.ndarray:
        if not encoder.startswith("@"):
            return self._inner.features(section, encoder)
        own = self._inner.features(section, "")
        edge = int(encoder[1:].partition("x")[0])
        rng = np.random.default_rng(edge)
        values = own[:, None] + 0.3 * own.std(axis=0) * rng.normal(size=(len(own), edge**2, own.shape[1]))
        values = values.astype(np.float32)
        if not encoder.endswith("inside"):
            values[rng.random(values.shape[:2]) < 0.2] = np.nan
            values[:, edge**2 // 2] = own
        return values


def view_cohort(seed: int, sections: dict[str, int], **settings: Any) -> Cohort:
    """`linear_cohort` with views of every spot."""
    made = linear_cohort(seed, sections, **settings)
    return replace(made, sections=tuple(replace(s, store=ViewStore(s.store)) for s in made.sections))

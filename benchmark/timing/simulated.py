"""A cohort of random images or features and counts, as large as asked for: what is timed does not depend on what they mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, InputStore, MeasuredSection


class _Store(InputStore):
    def __init__(self, features: dict[str, NDArray[np.float32]], patches: dict[str, NDArray[np.uint8]]) -> None:
        self._features, self._patches = features, patches

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        return self._features[section]

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        return self._patches[section]


def cohort(sections: int, spots: int, features: int, genes: int, patch_size: int = 0) -> Cohort:
    """`sections` of `spots` spots each on a square grid, with float32 features and log1p Poisson counts.

    With a `patch_size` they also have patches of noise, uint8 (spots, patch_size, patch_size, 3).
    """
    rng = np.random.default_rng(0)
    names = tuple(f"G{i}" for i in range(genes))
    ids = [f"S{i:02}" for i in range(sections)]
    shape = (spots, patch_size, patch_size, 3)
    store = _Store(
        {i: rng.normal(size=(spots, features)).astype(np.float32) for i in ids},
        {i: rng.integers(0, 256, shape, dtype=np.uint8) for i in ids if patch_size},
    )
    edge = int(np.ceil(np.sqrt(spots)))
    xy = np.stack([np.arange(spots) % edge + 1.0, np.arange(spots) // edge + 1.0], axis=1)
    return Cohort(
        tuple(
            MeasuredSection(
                id=i,
                patient=i,
                genes=names,
                spots=tuple(f"{i}-{n}" for n in range(spots)),
                array_xy=xy,
                pixel_xy=None,
                microns_per_pixel=None,
                labels=None,
                store=store,
                target=np.log1p(rng.poisson(1.0, (spots, genes))).astype(np.float32),
            )
            for i in ids
        ),
        names,
    )

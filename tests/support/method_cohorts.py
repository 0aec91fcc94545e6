"""Small cohorts with features (and patches) for tests of methods."""

from __future__ import annotations

import numpy as np
from qbench.datasets.cohort import Cohort, MeasuredSection, SealedSection


class Store:
    """Arrays by section; remembers which encoders were asked for."""

    def __init__(self, features: dict[str, np.ndarray], patches: dict[str, np.ndarray]) -> None:
        self._features, self._patches = features, patches
        self.asked: set[str] = set()

    def features(self, section: str, encoder: str) -> np.ndarray:
        self.asked.add(encoder)
        return self._features[section]

    def patches(self, section: str) -> np.ndarray:
        return self._patches[section]


def linear_cohort(
    seed: int,
    sections: dict[str, int],
    *,
    features: int = 12,
    genes: int = 9,
    noise: float = 0.3,
    patch: int = 0,
) -> Cohort:
    """Expression log1p-like, linear in features of uneven scale on a truth that all seeds share; patches if `patch` px."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).normal(size=(features, genes)) / 2
    scale = np.linspace(0.1, 30, features)
    x = {s: (rng.normal(size=(n, features)) * scale + scale).astype(np.float32) for s, n in sections.items()}
    y = {s: v / scale @ truth + 2 + noise * rng.normal(size=(len(v), genes)) for s, v in x.items()}
    pixels = (
        {s: rng.integers(0, 256, (n, patch, patch, 3), dtype=np.uint8) for s, n in sections.items()} if patch else {}
    )
    store = Store(x, pixels)
    names = tuple(f"G{i}" for i in range(genes))
    return Cohort(
        tuple(
            MeasuredSection(
                id=s,
                patient=s[0],
                genes=names,
                spots=tuple(f"{s}-{i}" for i in range(n)),
                array_xy=np.stack([np.arange(n) % 9 + 1.0, np.arange(n) // 9 + 1.0], axis=1),
                pixel_xy=None,
                microns_per_pixel=None,
                labels=None,
                store=store,
                target=np.maximum(y[s], 0).astype(np.float32),
            )
            for s, n in sections.items()
        ),
        names,
    )


def sealed(section: MeasuredSection) -> SealedSection:
    """The section as a test section: the same, without its target."""
    return SealedSection(**{name: getattr(section, name) for name in SealedSection.__dataclass_fields__})

"""A tiny dataset made in memory, for the contract test: patches whose colour tells the expression, and their features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, InputStore, MeasuredSection, SealedSection
from ...datasets.tiles import SectionTiles, Surroundings, stored_tiles
from ...datasets.views import Views
from ...errors import ConfigurationError
from ...methods.method import Inputs
from ..engine.inputs import out_of_reach

SIZE = 224
SPOTS = 20  # of each section; a multiple of neither 8 nor 32, so that the last batch of most loaders is short
GENES = 24
FEATURES = 48
_LEVELS = np.linspace(0.3, 4.0, GENES)  # mean log1p counts, far enough apart that a wrong order shows


@dataclass
class TinyStore(InputStore):
    """Patches and features of one section, as a cell gives them; refuses what a method did not declare.

    Attributes:
        held: its patches, uint8 (n, 224, 224, 3).
        read: what was asked for, in words; shared by the stores of a dataset.
    """

    inputs: Inputs
    section: str
    held: NDArray[np.uint8]
    read: set[str]

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        if not (self.inputs.patches or self.inputs.backbone):
            raise ConfigurationError(
                "It read patches, which it did not declare; return Inputs(patches=True) from inputs()."
            )
        self.read.add("patches")
        return self._own(section, f"patches of section {section}")

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        views = {some.key: some for some in self.inputs.views}
        if encoder in views:
            self.read.add(f"views {encoder}")
            return views_of(views[encoder], self._own(section, f"views of section {section}"))
        if encoder.startswith("@"):
            raise ConfigurationError(
                f"It read the views {encoder}, which it did not declare; add them to Inputs(views=(...,)) from inputs()."
            )
        if encoder not in self.inputs.encoders:
            raise ConfigurationError(
                f"It read features of encoder '{encoder}', which it did not declare; add the name to "
                "Inputs(encoders=...)."
            )
        self.read.add(f"features of '{encoder or 'the run'}'")
        return features_of(self._own(section, f"features of section {section} by encoder '{encoder or 'default'}'"))

    @override
    def tiles(self, section: str, key: str) -> SectionTiles:
        wanted = self.inputs.surroundings
        if wanted is None or wanted.key != key:
            raise ConfigurationError(
                f"It read the tiles {key}, which it did not declare; return Inputs(surroundings=...) from inputs()."
            )
        self.read.add("tiles")
        return tiles_from(wanted, self._own(section, f"tiles around spots of section {section}"))

    def holding(self, section: str, patches: NDArray[np.uint8]) -> TinyStore:
        """The store of another section of the same dataset."""
        return TinyStore(self.inputs, section, patches, self.read)

    def _own(self, section: str, what: str) -> NDArray[np.uint8]:
        if section != self.section:
            raise out_of_reach(what)
        return self.held


def features_of(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of a 4 x 4 grid of squares of each patch, or of as much of it as they cover, centred: float32 (n, 48)."""
    square = patches.shape[1] // 4
    squares = patches[:, : 4 * square, : 4 * square].reshape(len(patches), 4, square, 4, square, 3)
    means: NDArray[np.float64] = squares.mean(axis=(2, 4)).reshape(len(patches), FEATURES)
    return ((means - 128) / 64).astype(np.float32)


def views_of(views: Views, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of views, float32 (n, views, 48): parts of the patches, or patches of the section's other spots.

    Around a spot each view shows another spot of the section, or nothing where a section of 5 x 4 spots ends.
    """
    n, grid = len(patches), views.grid
    if views.inside:
        edge = SIZE // grid
        places = range(0, grid * edge, edge)
        parts = [patches[:, y : y + edge, x : x + edge] for y in places for x in places]
        return np.stack([features_of(part) for part in parts], axis=1)
    own = features_of(patches)
    column, row = np.arange(n) % 5, np.arange(n) // 5
    out = np.full((n, views.count, FEATURES), np.nan, dtype=np.float32)
    for view in range(views.count):
        x, y = column + view % grid - grid // 2, row + view // grid - grid // 2
        there = np.flatnonzero((x >= 0) & (x < 5) & (y >= 0) & (5 * y + x < n))
        out[there, view] = own[(5 * y + x)[there]]
    return out


def tiles_from(wanted: Surroundings, patches: NDArray[np.uint8]) -> SectionTiles:
    """Tiles of a section whose patches (n, s, s, 3) lie far apart: a spot's patch is in a tile's corner, and around it is white."""
    n, edge, apart = len(patches), min(patches.shape[1], wanted.tile), wanted.grid + 1
    pixels = np.full((1, n * apart, wanted.tile, wanted.tile, 3), 255, dtype=np.uint8)
    pixels[0, ::apart, :edge, :edge] = patches[:, :edge, :edge]
    middles = np.arange(n) * apart * wanted.tile
    return stored_tiles(pixels, np.column_stack([middles, np.zeros(n)]) + edge / 2)


@dataclass(frozen=True)
class TinyData:
    """Two training sections of two patients, one to validate, one to predict, whose `store` this is; all on one panel."""

    train: Cohort
    validation: Cohort
    test: SealedSection
    store: TinyStore
    read: set[str]


def make_tiny(inputs: Inputs, seed: int = 0) -> TinyData:
    """The same data for the same seed; genes are named so that no sorting keeps their order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(GENES)
    genes = tuple(f"{'ZYXW'[i % 4]}{int(order[i]):02d}" for i in range(GENES))
    levels = _LEVELS[order]
    slopes = rng.uniform(-0.6, 0.6, GENES)
    read: set[str] = set()
    stores, sections = [], []
    for name, patient in (("a1", "A"), ("b1", "B"), ("c1", "C"), ("d1", "D")):
        state = rng.uniform(-1, 1, SPOTS)
        stores.append(TinyStore(inputs, name, _patches(state, rng), read))
        rate = np.expm1(np.clip(levels + np.outer(state, slopes), 0.05, None))
        counts = rng.poisson(rate)
        sections.append(
            MeasuredSection(
                id=name,
                patient=patient,
                genes=genes,
                spots=tuple(f"{k % 5}x{k // 5}" for k in range(SPOTS)),
                array_xy=np.array([[k % 5, k // 5] for k in range(SPOTS)], dtype=np.float64),
                pixel_xy=np.array([[290.0 * (k % 5), 290.0 * (k // 5)] for k in range(SPOTS)]) + 150,
                microns_per_pixel=0.69,
                labels=tuple("tumour" if value > 0 else "stroma" for value in state),
                store=stores[-1],
                target=np.log1p(counts).astype(np.float32),
                library_size=counts.sum(axis=1).astype(np.int64),
            )
        )
    train, validation = Cohort(tuple(sections[:2]), genes), Cohort((sections[2],), genes)
    return TinyData(train, validation, sections[3].sealed(), stores[3], read)


def part_of(section: SealedSection, rows: NDArray[np.intp]) -> SealedSection:
    """Some spots of a section, in the order given."""
    return replace(
        section,
        spots=tuple(section.spots[i] for i in rows),
        array_xy=section.array_xy[rows],
        pixel_xy=None if section.pixel_xy is None else section.pixel_xy[rows],
        labels=None if section.labels is None else tuple(section.labels[i] for i in rows),
        rows=np.asarray(rows, dtype=np.intp),
    )


def _patches(state: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (n, 224, 224, 3): pink to purple with the state, and some texture."""
    base = np.array([200.0, 130, 180]) + np.outer(state, [-50.0, -60, -20])
    coarse = rng.normal(0, 12, (len(state), 14, 14, 3)).repeat(16, axis=1).repeat(16, axis=2)
    values: NDArray[np.float64] = base[:, None, None] + coarse
    return np.clip(values, 0, 255).astype(np.uint8)

"""What a method reads of points that lie closer than the windows that it sees: features of a lattice, between them interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import InputStore
from ...datasets.images import Image
from ...datasets.stain_treatment import Treatment
from ...datasets.tiles import SectionTiles
from .model import FittedModel
from .window_store import WindowStore

OVERLAP = 2  # of the lattice's windows: half an edge apart


class FineStore(InputStore):
    """As `WindowStore`. A window is encoded once for the points around it: lattices, half the window's edge apart, are the slide's.

    Points that lie farther apart than that have windows of their own. Patches are those of the points themselves, and tiles the slide's.
    """

    def __init__(self, model: FittedModel, image: Image, window: int, step: float, treat: Treatment) -> None:
        self._views = {some.key: some for some in model.inputs.views}
        self._size = np.array(image.size, dtype=np.float64)
        self._window, self._step = window, step
        self._inner = WindowStore(model, image, window, treat)
        self._points: NDArray[np.float64] = np.zeros((0, 2))

    def open(self, centres: NDArray[np.float64]) -> None:
        """Other points, (n, 2) in pixels of the slide."""
        self._points = centres

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        self._inner.open(self._points)
        return self._inner.patches(section)

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        views = self._views.get(encoder)
        pitch = (self._window if views is None else self._window / views.grid) / OVERLAP
        if self._step >= pitch:
            self._inner.open(self._points)
            return self._inner.features(section, encoder)
        nodes, corner, weight = lattice(self._points, pitch)
        self._inner.open(np.clip(nodes, 0, self._size))
        known = self._inner.features(section, encoder)
        out = np.zeros((len(self._points), *known.shape[1:]), dtype=np.float32)
        for which in range(4):
            out += known[corner[:, which]] * weight[:, which].reshape(-1, *[1] * (known.ndim - 1))
        return out

    @override
    def tiles(self, section: str, key: str) -> SectionTiles:
        self._inner.open(self._points)
        return self._inner.tiles(section, key)


def lattice(
    points: NDArray[np.float64], pitch: float
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float32]]:
    """The nodes at multiples of `pitch` around some points, and how each point lies between four of them.

    Returns:
        float64 (m, 2), their places; int (n, 4), the four of each point; float32 (n, 4), their shares, which sum to 1.
    """
    place = points / pitch
    low = np.floor(place).astype(np.intp)
    part = place - low
    steps = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    around = low[:, None] + steps
    weight = np.where(steps == 1, part[:, None], 1 - part[:, None]).prod(axis=2)
    nodes, corner = np.unique(around.reshape(-1, 2)[:, ::-1], axis=0, return_inverse=True)
    return nodes[:, ::-1] * pitch, corner.reshape(-1, 4), weight.astype(np.float32)

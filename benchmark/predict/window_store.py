"""What a method reads of one window of a slide's points: patches, features and views, made when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import InputStore
from ...datasets.images import Image
from ...datasets.patches import read_patches
from ...datasets.stain_treatment import Treatment
from ...datasets.tiles import SectionTiles, tiles_of
from ...datasets.views import Views, view_windows
from ..engine.inputs import out_of_reach
from .model import FittedModel

if TYPE_CHECKING:
    from ...methods.encoders.runtimes import Runtime


class WindowStore(InputStore):
    """Patches and features of one window's points, made when they are asked for; the next window takes their place."""

    def __init__(self, model: FittedModel, image: Image, window: int, treat: Treatment) -> None:
        self._model = model
        self._treat = treat
        self._image = image
        self._window = window
        self._centres: NDArray[np.float64] = np.zeros((0, 2))
        self._corners: NDArray[np.int64] = np.zeros((0, 2), np.int64)
        self._patches: NDArray[np.uint8] | None = None
        self._features: dict[str, NDArray[np.float32]] = {}
        self._runtimes: dict[str, Runtime] = {}

    def open(self, centres: NDArray[np.float64]) -> None:
        """Another window's points, (n, 2) in pixels of the slide; what was made for the last one is let go."""
        self._centres = centres
        self._corners = np.rint(centres).astype(np.int64) - self._window // 2
        self._patches = None
        self._features = {}

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        if self._patches is None:
            self._patches = self._read(0, len(self._corners))
        return self._patches

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        if encoder not in self._features:
            views = {some.key: some for some in self._model.inputs.views}
            if encoder in views:
                own = None if views[encoder].own is None else self.features(section, "")
                self._features[encoder] = self._encode_views(views[encoder], own)
            elif encoder in self._model.encoders:
                self._features[encoder] = self._encode(encoder)
            else:
                raise out_of_reach(f"features by encoder '{encoder or 'default'}'")
        return self._features[encoder]

    @override
    def tiles(self, section: str, key: str) -> SectionTiles:
        wanted, size = self._model.inputs.surroundings, self._model.record.patch.size
        if wanted is None or wanted.key != key:
            raise out_of_reach(f"tiles {key}")
        return tiles_of(self._image, wanted, self._centres, self._window, size, self._treat)

    def _runtime(self, key: str) -> Runtime:
        from ...methods.encoders.runtimes import open_runtime

        if key not in self._runtimes:
            self._runtimes[key] = open_runtime(self._model.encoders[key], self._model.record.patch.size)
        return self._runtimes[key]

    def _encode_views(self, views: Views, own: NDArray[np.float32] | None) -> NDArray[np.float32]:
        from ...methods.encoders.features import encode_views

        windows = view_windows(views, self._centres, self._window, self._image.size)
        read = read_patches(self._image, windows.corners, windows.edge, self._model.record.patch.size)
        shown = map(self._treat, read)
        if own is None:  # no view is the patch itself, so that nothing of it is read but how many there are
            own = np.empty((len(self._centres), self._runtime("").dim), dtype=np.float32)
        out = np.empty((len(own), views.count, own.shape[1]), dtype=np.float32)
        encode_views(out, views, windows, shown, own, lambda _size: self._runtime(""))
        return out

    def _encode(self, key: str) -> NDArray[np.float32]:
        from ...methods.encoders.features import encode_into

        runtime = self._runtime(key)
        out = np.empty((len(self._corners), runtime.dim), dtype=np.float32)
        for start in range(0, len(out), runtime.batch):
            stop = min(start + runtime.batch, len(out))
            block = self._patches[start:stop] if self._patches is not None else self._read(start, stop)
            encode_into(out[start:stop], runtime, block)
        return out

    def _read(self, start: int, stop: int) -> NDArray[np.uint8]:
        size = self._model.record.patch.size
        block = np.empty((stop - start, size, size, 3), dtype=np.uint8)
        for i, patch in enumerate(read_patches(self._image, self._corners[start:stop], self._window, size)):
            block[i] = self._treat(patch)
        return block

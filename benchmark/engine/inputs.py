"""Patches and features of the sections of a run: made once, then opened from the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cache import ArrayCache
from ...datasets.cohort import InputStore
from ...datasets.registry import Dataset
from ...datasets.stain_treatment import open_treated, treatment_of
from ...datasets.tiles import SectionTiles, Surroundings, open_tiles, stored_tiles
from ...datasets.view_pixels import open_views
from ...datasets.views import Views, ViewWindows
from ...errors import MethodError
from ...leaderboard.record import PatchRecord
from ...methods.encoders.registry import EncoderSpec, say_scale

Progress = Callable[[str, int, int], None]
T = TypeVar("T")


@dataclass
class PreparedInputs(InputStore):
    """Memory-mapped patches, features and tiles by section; holds no counts, so that a sealed section stays sealed."""

    opened_patches: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    opened_features: dict[tuple[str, str], NDArray[np.float32]] = field(default_factory=dict)
    opened_tiles: dict[tuple[str, str], tuple[NDArray[np.uint8], NDArray[np.float64]]] = field(default_factory=dict)

    def only(self, section: str) -> PreparedInputs:
        """Those of one section: what a method is handed with a section leads to no other one."""
        return PreparedInputs(
            {name: values for name, values in self.opened_patches.items() if name == section},
            {key: values for key, values in self.opened_features.items() if key[0] == section},
            {key: values for key, values in self.opened_tiles.items() if key[0] == section},
        )

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        return self._find(self.opened_patches, section, f"patches of section {section}")

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        what = f"features of section {section} by encoder '{encoder or 'default'}'"
        return self._find(self.opened_features, (section, encoder), what)

    @override
    def tiles(self, section: str, key: str) -> SectionTiles:
        return stored_tiles(*self._find(self.opened_tiles, (section, key), f"tiles around spots of section {section}"))

    @staticmethod
    def _find(opened: Mapping[Any, T], key: Any, what: str) -> T:
        if key not in opened:
            raise out_of_reach(what)
        return opened[key]


def out_of_reach(what: str) -> MethodError:
    """The error of a method that asks for inputs of another section, or for those that it did not declare."""
    return MethodError(
        f"The method asked for {what}, but a section gives only its own inputs, and of those what the method declares; "
        "read each section's through that section, and add what is missing to Method.inputs()."
    )


def prepare(
    dataset: Dataset,
    sections: Iterable[str],
    encoders: Mapping[str, EncoderSpec],
    patch: PatchRecord | None,
    cache: ArrayCache,
    progress: Progress | None = None,
    views: Mapping[str, Iterable[Views]] | None = None,
    reads_patches: bool = True,
    surroundings: Iterable[Surroundings | None] = (),
) -> PreparedInputs:
    """Open, and where missing make, the inputs of some sections; `encoders` by the names that methods use.

    `reads_patches` False leaves patches that are there unchecked until features are to be made of them.
    `views` are those whose features are read, by the name of the encoder among `encoders`; `surroundings` those whose tiles are.

    Each image is decoded once for patches, while the section before it is encoded; nothing of it is kept but the memory-mapped patches.
    """
    inputs = PreparedInputs()
    if patch is None:
        return inputs
    from ...methods.encoders.features import open_features, open_view_features, release

    size, scale = patch.size, patch.microns_per_pixel

    def cut(section_id: str) -> tuple[NDArray[np.uint8], str]:
        section = dataset.load(section_id)
        if progress is not None:  # a command's own process; those of its cells would each say it anew
            say_scale(encoders.values(), scale or section.microns_per_pixel)
        return open_treated(section, size, scale, patch.stain, cache, checked=reads_patches)

    def checked(section_id: str) -> NDArray[np.uint8]:
        return open_treated(dataset.load(section_id), size, scale, patch.stain, cache)[0]

    def encode(section_id: str, name: str) -> None:
        spec, key = encoders[name], keys[section_id]
        report = None if progress is None else _named(progress, f"{section_id} {spec.name}")
        own = open_features(spec, partial(checked, section_id), key, cache, report)
        inputs.opened_features[section_id, name] = own
        for some in (views or {}).get(name, ()):
            pixels = partial(_views, dataset, section_id, some, patch, cache)
            found = open_view_features(spec, some, pixels, own, key, cache, report)
            inputs.opened_features[section_id, name + some.key] = found

    ids, keys = list(sections), dict[str, str]()
    first, rest = list(encoders)[:1], list(encoders)[1:]
    done, total = count(), len(ids) * max(1, len(encoders))
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = [pool.submit(cut, section_id) for section_id in ids[:1]]
        for i, section_id in enumerate(ids):
            if progress is not None:
                progress("sections", next(done), total)
            inputs.opened_patches[section_id], keys[section_id] = ahead.pop().result()
            ahead = [pool.submit(cut, following) for following in ids[i + 1 : i + 2]]
            for name in first:
                encode(section_id, name)
            for wanted in dict.fromkeys(filter(None, surroundings)):
                found = _tiles(dataset, section_id, wanted, patch, keys[section_id], cache)
                inputs.opened_tiles[section_id, wanted.key] = found
    for name in rest:  # one encoder after the other, so that each network is built once and no two are in memory
        release()
        for section_id in ids:
            if progress is not None:
                progress("sections", next(done), total)
            encode(section_id, name)
    if progress is not None:
        progress("sections", total, total)
    return inputs


def _views(
    dataset: Dataset, section_id: str, views: Views, patch: PatchRecord, cache: ArrayCache
) -> tuple[ViewWindows, Iterator[NDArray[np.uint8]]]:
    section = dataset.load(section_id)
    treat = treatment_of(section, patch.size, patch.microns_per_pixel, patch.stain, cache)
    windows, shown = open_views(section, views, patch.size, patch.microns_per_pixel)
    return windows, map(treat, shown)


def _tiles(
    dataset: Dataset, section_id: str, wanted: Surroundings, patch: PatchRecord, key: str, cache: ArrayCache
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    section, size, scale = dataset.load(section_id), patch.size, patch.microns_per_pixel
    treat = partial(treatment_of, section, size, scale, patch.stain, cache)
    return open_tiles(section, wanted, size, scale, treat, key, cache)


def _named(progress: Progress, name: str) -> Progress:
    return lambda _what, done, total: progress(name, done, total)

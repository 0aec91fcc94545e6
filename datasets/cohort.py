"""What a method sees: measured sections for training, sealed ones to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from .neighbours import Neighbours, below, nearest
from .target import TargetName, counts_of
from .tiles import SectionTiles, Surroundings
from .views import Views


class RowView:
    """Rows of several memory-mapped arrays as if they were one; reads only what is asked for.

    `view[rows]` with a slice or an integer array returns a new array (len(rows), ...); `np.asarray(view)` reads all.
    """

    def __init__(self, arrays: Sequence[NDArray[Any]], rows: Sequence[NDArray[np.intp] | None]) -> None:
        self._arrays = list(arrays)
        self._rows = list(rows)
        lengths = [len(a) if r is None else len(r) for a, r in zip(self._arrays, self._rows, strict=True)]
        self._starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *self._arrays[0].shape[1:])
        self.dtype = self._arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        wanted = np.arange(len(self))[rows]
        part = np.searchsorted(self._starts, wanted, side="right") - 1
        out = np.empty((len(wanted), *self.shape[1:]), dtype=self.dtype)
        for i in np.unique(part):
            here = part == i
            local = wanted[here] - self._starts[i]
            chosen = self._rows[i]
            out[here] = self._arrays[i][local if chosen is None else chosen[local]]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The parts below each other: the array that they are cut from where they are all of it in order, else a copy."""
    whole = parts[0].base if parts else None
    if isinstance(whole, np.ndarray) and whole.shape == (sum(map(len, parts)), *parts[0].shape[1:]):
        starts = np.cumsum([0, *map(len, parts)])
        cut = (whole[start:stop].__array_interface__ for start, stop in pairwise(starts))
        if all(part.__array_interface__ == place for part, place in zip(parts, cut, strict=True)):
            return whole
    return np.concatenate(parts)


class InputStore(Protocol):
    """Where the inputs of a section come from; the harness injects it, so that `datasets` knows no encoder."""

    def patches(self, section: str) -> NDArray[np.uint8]:
        """uint8 (n, size, size, 3), RGB, memory-mapped."""

    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        """float32 (n, d), memory-mapped; `encoder` "" is the run's, "random" the same one with random weights.

        For the `key` of some `Views`: float32 (n, views, d) by the run's encoder, NaN where a view leaves the image.
        """

    def tiles(self, section: str, key: str) -> SectionTiles:
        """The tiles around the section's spots, by the `key` of some `Surroundings`."""
        raise ConfigurationError(
            f"Section {section}: expected an image to cut the tiles {key} from, found none; give one."
        )


@dataclass(frozen=True)
class SealedSection:
    """A section whose expression is to be predicted. It holds no counts, by its type.

    Attributes:
        id, patient: names.
        genes: the panel, in the order of the columns to predict.
        spots: names of the spots (n,).
        array_xy: float64 (n, 2), in pitches.
        pixel_xy: float64 (n, 2) in image pixels, or None.
        microns_per_pixel: of the image, where known.
        labels: pathologist's label per spot, or None.
        rows: rows of the stores that belong here, or None for all.
    """

    id: str
    patient: str
    genes: tuple[str, ...]
    spots: tuple[str, ...]
    array_xy: NDArray[np.float64]
    pixel_xy: NDArray[np.float64] | None
    microns_per_pixel: float | None
    labels: tuple[str, ...] | None
    store: InputStore | None
    rows: NDArray[np.intp] | None = None

    @property
    def n_spots(self) -> int:
        """Spots of the section, or of the part of it that the fold tests."""
        return len(self.spots)

    def patches(self) -> RowView:
        """uint8 (n, size, size, 3) RGB, read on demand."""
        return RowView([self._inputs.patches(self.id)], [self.rows])

    def features(self, encoder: str = "") -> RowView:
        """float32 (n, d) of the named encoder ("" is the run's), read on demand."""
        return RowView([self._inputs.features(self.id, encoder)], [self.rows])

    def views(self, views: Views) -> RowView:
        """float32 (n, views, d), features of several views of each spot by the run's encoder; NaN where one is missing."""
        return self.features(views.key)

    def tiles(self, surroundings: Surroundings) -> SectionTiles:
        """The section's tiles, read on demand, and the spots' places among them."""
        found = self._inputs.tiles(self.id, surroundings.key)
        return found if self.rows is None else found.of(self.rows)

    def neighbours(self, k: int, within: float | None = None) -> Neighbours:
        """The k nearest spots of each by array position, at most `within` pitches away; see `Neighbours`."""
        return nearest(self.array_xy, k, within)

    @property
    def _inputs(self) -> InputStore:
        if self.store is None:
            raise ConfigurationError(
                f"Section {self.id} was opened without images, but the method asked for patches or features; "
                "declare them in Method.inputs()."
            )
        return self.store


@dataclass(frozen=True)
class MeasuredSection(SealedSection):
    """A section whose counts may be seen.

    Attributes:
        target: float32 (n, genes), in target space (log1p).
        library_size: int64 (n,), total UMI over all genes.
        target_name: what the target is of.
    """

    target: NDArray[np.float32] | None = None
    library_size: NDArray[np.int64] | None = None
    target_name: TargetName = "counts"

    def counts(self) -> NDArray[np.int64]:
        """The integer counts behind the target, int64 (n, genes), whichever target it is."""
        assert self.target is not None
        return counts_of(self.target, self.target_name, self.library_size)

    def sealed(self) -> SealedSection:
        """The same section without its counts, to be predicted."""
        return SealedSection(**{name: getattr(self, name) for name in SealedSection.__dataclass_fields__})


@dataclass(frozen=True)
class Cohort:
    """The measured sections of one side of a fold, on one gene panel; rows are the sections' spots in order."""

    sections: tuple[MeasuredSection, ...]
    genes: tuple[str, ...]

    def __len__(self) -> int:
        return sum(section.n_spots for section in self.sections)

    @cached_property
    def target(self) -> NDArray[np.float32]:
        """float32 (N, genes), target space (log1p)."""
        return joined([section.target for section in self.sections if section.target is not None])

    @cached_property
    def library_size(self) -> NDArray[np.int64]:
        """int64 (N,), total UMI of each spot over all genes of its section."""
        return np.concatenate([section.library_size for section in self.sections if section.library_size is not None])

    @cached_property
    def array_xy(self) -> NDArray[np.float64]:
        """float64 (N, 2), in pitches."""
        return np.concatenate([section.array_xy for section in self.sections])

    @cached_property
    def boundaries(self) -> NDArray[np.intp]:
        """Row where each section starts, and N at the end: (sections + 1,)."""
        return np.cumsum([0, *(section.n_spots for section in self.sections)])

    @cached_property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each row, (N,)."""
        return np.repeat([s.patient for s in self.sections], [s.n_spots for s in self.sections])

    def neighbours(self, k: int, within: float | None = None) -> Neighbours:
        """As of a section, for all rows; no spot is the neighbour of one of another section."""
        return below([section.neighbours(k, within) for section in self.sections])

    def patches(self) -> RowView:
        """uint8 (N, size, size, 3) RGB, read on demand."""
        return RowView([s._inputs.patches(s.id) for s in self.sections], [s.rows for s in self.sections])

    def features(self, encoder: str = "") -> RowView:
        """float32 (N, d) of the named encoder ("" is the run's), read on demand."""
        return RowView([s._inputs.features(s.id, encoder) for s in self.sections], [s.rows for s in self.sections])

    def views(self, views: Views) -> RowView:
        """float32 (N, views, d), features of several views of each spot by the run's encoder; NaN where one is missing."""
        return self.features(views.key)

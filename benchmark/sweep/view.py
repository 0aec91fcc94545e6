"""What the trials of a fold may see: its training and validation sections as memory-mapped files, and nothing of its test.

A view names no data folder and no test section; trials open it read-only, so that its arrays are in memory once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from ...datasets.cohort import Cohort, InputStore, MeasuredSection
from ...datasets.target import TargetName
from ...datasets.tiles import SectionTiles, stored_tiles
from ..engine.inputs import PreparedInputs, out_of_reach

SIDES = ("train", "validation")


class SectionView(BaseModel):
    """A measured section: names, and a `.npy` file for each of its arrays.

    Attributes:
        files: array_xy, library_size, and where there are any pixel_xy, rows, patches; features: by the encoder's name,
            and tiles by their key and "places" behind it.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    patient: str
    spots: tuple[str, ...]
    microns_per_pixel: float | None
    labels: tuple[str, ...] | None
    target_name: TargetName
    files: dict[str, Path]
    features: dict[str, Path]


class FoldView(BaseModel):
    """The training and validation side of one fold, on its gene panel; `targets` are the files of both sides."""

    model_config = ConfigDict(frozen=True)

    genes: tuple[str, ...]
    train: tuple[SectionView, ...]
    validation: tuple[SectionView, ...]
    targets: dict[str, Path]


@dataclass
class FileInputs(InputStore):
    """Patches, features and tiles of one section of a view; knows no other section."""

    section: str
    patch_file: Path | None
    feature_files: Mapping[str, Path]
    opened: dict[Path, NDArray[Any]] = field(default_factory=dict)

    @override
    def patches(self, section: str) -> NDArray[np.uint8]:
        return self._open(section, self.patch_file, f"patches of section {section}")

    @override
    def features(self, section: str, encoder: str) -> NDArray[np.float32]:
        what = f"features of section {section} by encoder '{encoder or 'default'}'"
        return self._open(section, self.feature_files.get(encoder), what)

    @override
    def tiles(self, section: str, key: str) -> SectionTiles:
        what = f"tiles around spots of section {section}"
        files = (self.feature_files.get(name) for name in (key, f"{key} places"))
        return stored_tiles(*(self._open(section, path, what) for path in files))

    def _open(self, section: str, path: Path | None, what: str) -> NDArray[Any]:
        if section != self.section or path is None:
            raise out_of_reach(what)
        if path not in self.opened:
            self.opened[path] = _map(path)
        return self.opened[path]


def write_view(folder: Path, cohorts: Mapping[str, Cohort], inputs: PreparedInputs) -> FoldView:
    """Write the targets and places of both sides into `folder`; patches and features stay in the cache's files."""
    folder.mkdir(parents=True)
    sides, targets = {}, {}
    for side in SIDES:
        targets[side] = _file(folder / f"{side}.target.npy", cohorts[side].target)
        sections = []
        for number, section in enumerate(cohorts[side].sections):
            arrays = {
                "array_xy": section.array_xy,
                "pixel_xy": section.pixel_xy,
                "rows": section.rows,
                "library_size": section.library_size,
                "patches": inputs.opened_patches.get(section.id),
            }
            features: dict[str, NDArray[Any]] = {
                name: f for (owner, name), f in inputs.opened_features.items() if owner == section.id
            }
            for (owner, key), pair in inputs.opened_tiles.items():
                if owner == section.id:
                    features |= dict(zip((key, f"{key} places"), pair, strict=True))
            start = f"{side}{number}"
            sections.append(
                SectionView(
                    id=section.id,
                    patient=section.patient,
                    spots=section.spots,
                    microns_per_pixel=section.microns_per_pixel,
                    labels=section.labels,
                    target_name=section.target_name,
                    files={k: _file(folder / f"{start}.{k}.npy", v) for k, v in arrays.items() if v is not None},
                    features={k: _file(folder / f"{start}.f{i}.npy", v) for i, (k, v) in enumerate(features.items())},
                )
            )
        sides[side] = tuple(sections)
    return FoldView(genes=cohorts["train"].genes, targets=targets, **sides)


def open_view(view: FoldView) -> tuple[Cohort, Cohort]:
    """The cohorts of a view, memory-mapped."""
    return _cohort(view, "train"), _cohort(view, "validation")


def _cohort(view: FoldView, side: Literal["train", "validation"]) -> Cohort:
    target = _map(view.targets[side], "c")  # shared; a method's change stays its own
    sections, start = [], 0
    for section in getattr(view, side):
        stop = start + len(section.spots)
        sections.append(_section(section, view.genes, target[start:stop]))
        start = stop
    return Cohort(tuple(sections), view.genes)


def _section(view: SectionView, genes: tuple[str, ...], target: NDArray[np.float32]) -> MeasuredSection:
    def read(name: str) -> NDArray[Any] | None:
        path = view.files.get(name)
        return None if path is None else _map(path)

    return MeasuredSection(
        id=view.id,
        patient=view.patient,
        genes=genes,
        spots=view.spots,
        array_xy=_map(view.files["array_xy"]),
        pixel_xy=read("pixel_xy"),
        microns_per_pixel=view.microns_per_pixel,
        labels=view.labels,
        store=FileInputs(view.id, view.files.get("patches"), view.features),
        rows=read("rows"),
        target=target,
        library_size=read("library_size"),
        target_name=view.target_name,
    )


def _file(path: Path, values: NDArray[Any]) -> Path:
    """The file behind a memory-mapped array, or a new one for an array in memory."""
    if isinstance(values, np.memmap) and values.filename is not None:
        return Path(values.filename).absolute()
    np.save(path, values)
    return path.absolute()


def _map(path: Path, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    found: NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    return found

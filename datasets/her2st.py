"""Reader of the public HER2ST folder layout (Andersson et al. 2021; repository almaan/her2st, folder `data`).

    ST-cnts/A1.tsv[.gz]                          counts, spots ("10x13") x genes; the left table of every join
    ST-spotfiles/A1_selection.tsv                fitted array position and pixel of each spot
    ST-imgs/A/A1/<any name>.jpg                  full-resolution image, where present
    ST-pat/lbl/A1_labeled_coordinates.tsv        pathologist's label of each spot, where present

A patient is a letter, its sections are numbered. Anything else in these folders is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .cache import ArrayCache
from .count_table import read_count_table
from .entry import EntryWriter
from .hashing import canonical_hash, file_sha256
from .registry import Dataset, DatasetCard, SectionInfo
from .scale import Stated
from .section import Section
from .slides.kind import image_hash
from .spot_tables import read_labels, read_selection
from .stored_tables import joined, parted, store_counts, stored_section

VERSION = 1  # of the reading: raised when the same files would give other values
PITCH_MICRONS = 200.0  # centre to centre, stated by the authors
SPOT_MICRONS = 100.0
_COUNTS = re.compile(r"(([A-Z])[1-9][0-9]*)\.tsv(\.gz)?")
_IMAGES = {".jpg", ".jpeg", ".png", ".tif", ".tiff"}


@dataclass(frozen=True)
class _Files:
    counts: Path
    selection: Path
    labels: Path | None
    image: Path | None


def open_her2st(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Find the sections of a folder and hash their files; a complete folder is held against the card.

    Raises:
        DataError: no such folder or layout, counts without a table of spots, two images of one section, or a complete
            set of sections that is not the published one.
    """
    base = _base(card, data_dir)
    found = {}
    for path in sorted(
        (base / "ST-cnts").iterdir(), reverse=True
    ):  # A1.tsv.gz before A1.tsv: an unpacked table is preferred
        if match := _COUNTS.fullmatch(path.name):
            found[match[1]] = path
    if not found:
        raise DataError(
            f"Expected tables of counts like A1.tsv.gz in {base / 'ST-cnts'}, found none; check --data-dir."
        )
    expected = card.expected_spots
    if expected and set(found) > set(expected):
        raise DataError(
            f"Expected the {len(expected)} sections of {len(card.expected)} patients of {card.name} in {base}, "
            f"found also {', '.join(sorted(set(found) - set(expected)))}; move the additional tables elsewhere."
        )
    files = {section: _files(base, section, counts) for section, counts in sorted(found.items())}
    infos = tuple(_info(section, its, cache) for section, its in files.items())
    complete = bool(expected) and set(found) == set(expected)
    load = partial(_load, files=files, expected=expected if complete else {}, cache=cache)
    return Dataset(card, infos, load, versions={"her2st": VERSION})


def _base(card: DatasetCard, data_dir: Path | None) -> Path:
    wanted = (
        "a folder with ST-cnts, ST-spotfiles, ST-imgs and ST-pat (the `data` folder of the repository almaan/her2st)"
    )
    if data_dir is None:
        raise DataError(f"Dataset {card.name} needs {wanted}; name it with --data-dir DIR or set QBENCH_DATA.")
    for base in (data_dir, data_dir / "data"):  # a clone of the whole repository will do
        if (base / "ST-cnts").is_dir():
            return base
    state = "it has no ST-cnts" if data_dir.is_dir() else "there is no such folder"
    raise DataError(f"Expected {wanted} at {data_dir}, but {state}; name it with --data-dir DIR or set QBENCH_DATA.")


def _files(base: Path, section: str, counts: Path) -> _Files:
    selection = _packed(base / "ST-spotfiles" / f"{section}_selection.tsv")
    if not selection.is_file():
        raise DataError(
            f"Section {section} has counts in {counts} but no coordinates: expected {selection}; fetch it too."
        )
    labels = _packed(base / "ST-pat" / "lbl" / f"{section}_labeled_coordinates.tsv")
    folder = base / "ST-imgs" / section[0] / section
    images = sorted(
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.suffix.lower() in _IMAGES and not path.name.startswith(".") and path.is_file()
    )
    if len(images) > 1:
        raise DataError(
            f"Expected one image of section {section} in {folder}, found {', '.join(p.name for p in images)}; "
            "leave only the full-resolution H&E image there."
        )
    return _Files(counts, selection, labels if labels.is_file() else None, images[0] if images else None)


def _packed(path: Path) -> Path:
    """The table, or its gzipped form where only that is there, as in the archives of the public record."""
    gzipped = path.with_name(f"{path.name}.gz")
    return gzipped if gzipped.is_file() and not path.is_file() else path


def _info(section: str, files: _Files, cache: ArrayCache) -> SectionInfo:
    image = None if files.image is None else image_hash(files.image, cache.root)
    content = canonical_hash({"tables": _tables_hash(section, files, cache), "image": image})
    return SectionInfo(section, section[0], files.image, files.labels is not None, content)


def _tables_hash(section: str, files: _Files, cache: ArrayCache) -> str:
    paths = (files.counts, files.selection, files.labels)
    hashes = [None if path is None else file_sha256(path, cache.root) for path in paths]
    return canonical_hash({"reader": "her2st", "version": VERSION, "section": section, "files": hashes})


def _load(info: SectionInfo, files: dict[str, _Files], expected: dict[str, int | None], cache: ArrayCache) -> Section:
    its = files[info.id]
    entry = cache.get("sections", _tables_hash(info.id, its, cache), partial(_parse, section=info.id, files=its))
    spots = parted(entry.arrays["spots"])
    if expected and len(spots) != expected[info.id]:
        raise DataError(
            f"Expected {expected[info.id]} spots in section {info.id} of the complete set, found {len(spots)} in "
            f"{its.counts}; fetch the published table again."
        )
    micron = entry.metadata["microns_per_pixel"]
    return stored_section(
        info,
        entry,
        microns_per_pixel=micron,
        scales=(Stated(micron, "the fitted array's pitch of 200 microns"),),
        spot_diameter=SPOT_MICRONS / micron,
    )


def _parse(writer: EntryWriter, section: str, files: _Files) -> None:
    """Parse and join the tables of a section into a cache entry."""
    table = read_count_table(files.counts)
    chosen = read_selection(files.selection)
    lost = [spot for spot in table.spots if spot not in chosen]
    if lost:
        raise DataError(
            f"Section {section}: {len(lost)} of {len(table.spots)} spots with counts have no coordinates in "
            f"{files.selection} ({', '.join(lost[:5])}); the two tables must be of the same section."
        )
    rows = np.array([chosen[spot] for spot in table.spots])
    array_xy, pixel_xy = rows[:, :2], rows[:, 2:]
    notes = []
    if len(chosen) > len(table.spots):
        notes.append(f"{len(chosen) - len(table.spots)} selected spots have no counts and are left out")
    empty = [spot for spot, total in zip(table.spots, table.counts.sum(axis=1).A1, strict=True) if total == 0]
    if empty:
        notes.append(f"no UMI at all at {', '.join(empty)}")
    store_counts(writer, table.counts)
    writer.store("array_xy", array_xy)
    writer.store("pixel_xy", pixel_xy)
    writer.store("spots", joined(table.spots))
    writer.store("genes", joined(table.genes))
    if files.labels is not None:
        labels = read_labels(files.labels)
        writer.store("labels", joined([labels.get(spot, "") for spot in table.spots]))
    writer.metadata = {
        "section": section,
        "microns_per_pixel": PITCH_MICRONS / _pixels_per_pitch(array_xy, pixel_xy, files.selection),
        "notes": notes,
    }


def _pixels_per_pitch(array_xy: NDArray[np.float64], pixel_xy: NDArray[np.float64], path: Path) -> float:
    """Mean over x and y of the least-squares slope of pixels on array position."""
    centred = array_xy - array_xy.mean(axis=0)
    spread = (centred**2).sum(axis=0)
    if not (spread > 0).all():
        raise DataError(
            f"Expected spots in more than one row and column in {path}, found one, which fits no scale; fetch the file again."
        )
    slope = float(((centred * pixel_xy).sum(axis=0) / spread).mean())
    if not slope > 0:
        raise DataError(
            f"Expected pixel coordinates that grow with the array position in {path}, found a slope of {slope:g}; fetch the file again."
        )
    return slope

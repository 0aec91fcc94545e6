"""What the readers of public datasets share: a section of a Spatial Transcriptomics array, and holding it to its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..count_table import CountTable
from ..lattice import lattice
from ..readers.listed import Reader, open_listed
from ..registry import Dataset, DatasetCard
from ..scale import from_array
from ..section import Section

Place = tuple[float, float, float, float]  # x and y on the array, in pitches, and in pixels of the image


def folder_of(card: DatasetCard, data_dir: Path | None, inner: str, mark: str) -> Path:
    """The folder that holds files like `mark`: `data_dir`, or the folder `inner` in it.

    Raises:
        DataError: there is none.
    """
    advice = (
        f"fetch it with 'qbench data fetch {card.name}', then name its folder with --data-dir DIR or set QBENCH_DATA."
    )
    if data_dir is None:
        raise DataError(f"Dataset {card.name} needs its files; {advice}")
    for base in (data_dir, data_dir / inner):
        if next(base.glob(mark), None) is not None:
            return base
    raise DataError(f"Expected files of {card.name} such as {mark} in {data_dir}, found none; {advice}")


def open_public(
    card: DatasetCard, base: Path, cache: ArrayCache, entries: tuple[SectionEntry, ...], reader: Reader
) -> Dataset:
    """Open sections that were found in a folder.

    Raises:
        DataError: none was found, a file that is not there, or a section of another patient than the published one.
    """
    if not entries:
        raise DataError(
            f"Expected sections of {card.name} in {base}, found none; run 'qbench data fetch {card.name}' again."
        )
    # Markers that are missing are a note: ids without a table of symbols name none of them.
    dataset = open_listed(card.model_copy(update={"sections": entries, "markers": {}}), base, cache, reader)
    for info in dataset.sections:
        due = card.expected_patients.get(info.id, info.patient)
        if info.patient != due:
            raise DataError(
                f"Expected section {info.id} of {card.name} to be of patient {due}, {base} says {info.patient}; fetch it again."
            )
    return replace(dataset, card=card)


def array_section(
    entry: SectionEntry,
    table: CountTable,
    places: Mapping[str, Place],
    pitch_microns: float,
    spot_microns: float,
    labels: Mapping[str, str] | None = None,
) -> Section:
    """The spots of a table of counts that have a place; the others lie beside the tissue.

    Args:
        entry: of the dataset's card: name, patient, image.
        table: counts of all spots of the array.
        places: spot -> where it lies on the array and in the image.
        pitch_microns: distance of neighbours, from which the scale comes.
        spot_microns: width of a spot.
        labels: spot -> a pathologist's word for it.

    Raises:
        DataError: none has a place.
    """
    rows = np.array([i for i, spot in enumerate(table.spots) if spot in places], dtype=np.intp)
    if not len(rows):
        raise DataError(
            f"Section {entry.id}: expected spots in both {entry.file} and {entry.spots}, found none; the two must be "
            "of one section."
        )
    spots = tuple(table.spots[i] for i in rows)
    where = np.array([places[spot] for spot in spots], dtype=np.float64)
    found = lattice(where[:, 0], where[:, 1], where[:, 2:], square=True)
    scale = from_array(found, pitch_microns)
    notes = []
    if len(rows) < len(table.spots):
        notes.append(f"{len(table.spots) - len(rows)} spots of the array are not under tissue and are left out")
    if absent := len(set(places) - set(spots)):
        notes.append(f"{absent} spots under tissue have no counts and are left out")
    return Section(
        id=entry.id,
        patient=entry.patient or UNNAMED,
        counts=table.counts[rows],
        genes=table.genes,
        spots=spots,
        array_xy=where[:, :2],
        pixel_xy=where[:, 2:],
        spot_diameter=None if scale is None else spot_microns / scale.microns,
        labels=None if labels is None else tuple(labels.get(spot, "") for spot in spots),
        notes=tuple(notes),
        scales=() if scale is None else (scale,),
    )


def present(path: Path) -> Path:
    """The file, or its gzipped or unpacked twin where only that is there."""
    twin = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    return twin if twin.is_file() and not path.is_file() else path

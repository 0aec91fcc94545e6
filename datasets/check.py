"""Hold a dataset's folder against what its card promises: every table parsed, every join made, every image decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import DataError, IntegrityError, QbenchError
from ..names import UNNAMED
from .cache import ArrayCache
from .fetch import verify_fetched
from .fetched import RECORD
from .folds import Part
from .gene_names import check_gene_names
from .images import open_image
from .leaks import Overlap, find_overlaps, one_patient_notes, under_two_patients
from .patch_file import SUFFIX, read_all_patches
from .registry import Dataset, SectionInfo, open_dataset
from .section import Section

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SectionCheck:
    """What was found of one section; `problem` is the first fault, or None. `image` is its size in pixels, as text.

    `microns_per_pixel` is None where nobody states it, `scale` says who does; `exit_code` is that of the problem, 0 for none.
    """

    id: str
    patient: str
    spots: int
    genes: int
    umi: int
    image: str
    problem: str | None
    notes: tuple[str, ...]
    microns_per_pixel: float | None = None
    scale: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class DatasetCheck:
    """What was found of a dataset.

    Attributes:
        problems: what concerns it as a whole.
        leaks: sections that hold the same spots and may not be of one patient.
        fetched: number of files whose checksum held.
    """

    sections: tuple[SectionCheck, ...]
    problems: tuple[str, ...]
    leaks: tuple[str, ...]
    notes: tuple[str, ...]
    fetched: int

    @property
    def sound(self) -> bool:
        """Whether nothing was found: no problem of the dataset or of a section, no leak."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0 where it is sound, 3 where it is not what it should be, 2 where something cannot be read or is unusable."""
        codes = [section.exit_code for section in self.sections]
        codes += [IntegrityError.exit_code] * bool(self.leaks) + [DataError.exit_code] * bool(self.problems)
        return max(codes, default=0)


def check_dataset(
    name: str, data_dir: Path | None, cache: ArrayCache, progress: Progress | None = None
) -> DatasetCheck:
    """Parse and check every section of a dataset, and decode its image to the last pixel.

    Raises:
        ConfigurationError, DataError: it cannot be opened at all.
        IntegrityError: a fetched file that has changed.
    """
    fetched = verify_fetched(data_dir) if data_dir is not None and (data_dir / RECORD).is_file() else []
    dataset = open_dataset(name, data_dir, cache)
    found = []
    seen: set[str] = set()
    read: list[str] = []
    for i, info in enumerate(dataset.sections):
        if progress is not None:
            progress("sections", i, len(dataset.sections))
        try:
            section = dataset.load(info.id)
            found.append(_check_section(dataset, info, section, progress))
        except QbenchError as error:
            found.append(SectionCheck(info.id, info.patient, 0, 0, 0, "", str(error), (), exit_code=error.exit_code))
            continue
        read.append(info.id)
        seen |= set(section.genes)
    if progress is not None:
        progress("sections", len(dataset.sections), len(dataset.sections))
    problems = []
    try:
        check_gene_names(dataset, read, cache)
    except DataError as error:
        problems.append(str(error))
    overlaps = [overlap for overlap in find_overlaps(dataset, map(Part, read), cache) if overlap.too_large]
    leaks, shared = _overlap_findings(dataset, overlaps)
    return DatasetCheck(tuple(found), tuple(problems), tuple(leaks), (*_notes(dataset, seen), *shared), len(fetched))


def _overlap_findings(dataset: Dataset, overlaps: list[Overlap]) -> tuple[list[str], list[str]]:
    """Findings that stop every run, and notes on sections of one named patient, which only some folds part."""
    patients = {info.id: info.patient for info in dataset.sections}
    nobody = [o for o in overlaps if {patients[o.first.section], patients[o.second.section]} == {UNNAMED}]
    leaks = [f"{finding}; remove one of the two." for finding in under_two_patients(overlaps, patients)]
    leaks += [f"{o.said('no patient named', 'no patient named')}; remove one of the two." for o in nobody]
    notes = one_patient_notes((overlap for overlap in overlaps if overlap not in nobody), patients)
    return leaks, notes


def _check_section(dataset: Dataset, info: SectionInfo, section: Section, progress: Progress | None) -> SectionCheck:
    due = dataset.card.expected_spots.get(info.id)
    problem, code = None, 0
    if due is not None and section.n_spots != due:
        problem = f"expected the published {due} spots, found {section.n_spots}"
        code = IntegrityError.exit_code
    size, notes = "", section.notes
    if info.image is not None:
        report = None if progress is None else partial(progress, f"image of {info.id}")
        try:
            size, fault, more = _check_image(info.image, section, report)
            notes = tuple(dict.fromkeys((*notes, *more)))
        except QbenchError as error:
            fault = str(error)
        if fault is not None and problem is None:
            problem, code = fault, DataError.exit_code
    umi = int(section.counts.sum(dtype=np.int64))
    return SectionCheck(
        id=info.id,
        patient=info.patient,
        spots=section.n_spots,
        genes=len(section.genes),
        umi=umi,
        image=size,
        problem=problem,
        notes=notes,
        microns_per_pixel=section.microns_per_pixel,
        scale=section.scales[0].source if section.scales else "",
        exit_code=code,
    )


def _check_image(
    path: Path, section: Section, progress: Callable[[int, int], None] | None
) -> tuple[str, str | None, tuple[str, ...]]:
    """The size of an image in words, what is wrong between it and the spots, and notes on its file.

    Raises:
        DataError: it cannot be decoded.
    """
    if path.suffix.lower() == SUFFIX:
        read_all_patches(path, progress)
        return "patches", None, ()
    image = open_image(path)
    image.decode_all(progress)
    size = f"{image.size[0]} x {image.size[1]}"
    if section.pixel_xy is None:
        return size, "has an image but no coordinates in pixels", image.notes
    if not ((section.pixel_xy >= 0) & (section.pixel_xy <= np.array(image.size))).all():
        return size, f"has spots outside its image of {size} pixels", image.notes
    return size, None, image.notes


def _notes(dataset: Dataset, seen: set[str]) -> list[str]:
    notes = list(dataset.notes)
    absent = sorted(set(dataset.card.expected_spots) - {info.id for info in dataset.sections})
    if absent:
        notes.append(f"Not here: {', '.join(absent)}.")
    without = [info.id for info in dataset.sections if info.image is None]
    if without:
        notes.append(f"Without an image: {', '.join(without)}.")
    lost = [gene for gene in dataset.card.marker_genes if gene not in seen]
    if seen and lost:
        notes.append(f"Markers that no section has: {', '.join(lost)}.")
    return notes

"""Hold a dataset's folder against what its card promises: every table parsed, every join made, every image's size "
"read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.cache import ArrayCache
from ..datasets.fetch import RECORD, verify_fetched
from ..datasets.images import open_image
from ..datasets.patch_file import SUFFIX
from ..datasets.readers.genes import are_ensembl
from ..datasets.registry import Dataset, SectionInfo, open_dataset
from ..datasets.section import Section
from ..errors import QbenchError

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SectionCheck:
    """What was found of one section; `problem` is the first fault, or None. `image` is its size in pixels, as text."""

    id: str
    patient: str
    spots: int
    genes: int
    umi: int
    image: str
    problem: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DatasetCheck:
    """What was found of a dataset; `problems` concern it as a whole, `fetched` is the number of files whose "
    "checksum held."""

    sections: tuple[SectionCheck, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    fetched: int

    @property
    def sound(self) -> bool:
        return not self.problems and all(section.problem is None for section in self.sections)


def check_dataset(
    name: str, data_dir: Path | None, cache: ArrayCache, progress: Progress | None = None
) -> DatasetCheck:
    """Parse and check every section of a dataset.

    Raises:
        ConfigurationError, DataError: it cannot be opened at all. IntegrityError: a fetched file that has changed.
    """
    fetched = verify_fetched(data_dir) if data_dir is not None and (data_dir / RECORD).is_file() else []
    dataset = open_dataset(name, data_dir, cache)
    found = []
    ensembl: dict[bool, list[str]] = {True: [], False: []}
    seen: set[str] = set()
    for i, info in enumerate(dataset.sections):
        if progress is not None:
            progress("sections", i, len(dataset.sections))
        try:
            section = dataset.load(info.id)
            found.append(_check_section(dataset, info, section))
        except QbenchError as error:
            found.append(SectionCheck(info.id, info.patient, 0, 0, 0, "", str(error), ()))
            continue
        ensembl[are_ensembl(section.genes)].append(info.id)
        seen |= set(section.genes)
    if progress is not None:
        progress("sections", len(dataset.sections), len(dataset.sections))
    problems = []
    if ensembl[True] and ensembl[False]:
        problems.append(
            f"Gene names are Ensembl ids in {', '.join(ensembl[True])} and symbols in {', '.join(ensembl[False])}; "
            "name the "
            "column of symbols with 'symbols:' in the card."
        )
    return DatasetCheck(tuple(found), tuple(problems), tuple(_notes(dataset, seen)), len(fetched))


def _check_section(dataset: Dataset, info: SectionInfo, section: Section) -> SectionCheck:
    due = dataset.card.expected_spots.get(info.id)
    problem = None
    if due is not None and section.n_spots != due:
        problem = f"expected the published {due} spots, found {section.n_spots}"
    size = ""
    if info.image is not None and info.image.suffix.lower() == SUFFIX:
        size = "patches"
    elif info.image is not None:
        width, height = open_image(info.image).size
        size = f"{width} x {height}"
        if section.pixel_xy is None:
            problem = problem or "has an image but no coordinates in pixels"
        elif not ((section.pixel_xy >= 0) & (section.pixel_xy <= np.array([width, height]))).all():
            problem = problem or f"has spots outside its image of {size} pixels"
    umi = int(section.counts.sum(dtype=np.int64))
    return SectionCheck(info.id, info.patient, section.n_spots, len(section.genes), umi, size, problem, section.notes)


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

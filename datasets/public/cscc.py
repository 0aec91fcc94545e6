"""Squamous cell carcinoma of the skin (Ji et al. 2020, GEO GSE144240): all files in one folder.

GSM4284316_P2_ST_rep1_stdata.tsv.gz                    counts, spots ("10x13") x genes
GSM4284316_spot_data-selection-P2_ST_rep1.tsv.gz       x, y, new_x, new_y, pixel_x, pixel_y of the spots under tissue
GSM4284316_P2_ST_rep1.jpg                              full-resolution image (GEO's is gzipped)
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import DataError
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..count_table import read_count_table
from ..readers.listed import Reader, stated_image
from ..registry import Dataset, DatasetCard
from ..section import Section
from ..spot_tables import read_selection
from .opened import array_section, folder_of, open_public

VERSION = 1
PITCH_MICRONS, SPOT_MICRONS = 150.0, 110.0  # of the paper's array; HEST-1k's table has the two the other way round
_COUNTS = re.compile(r"(?:GSM\d+_)?((P\d+)_ST_rep\d+)_stdata\.tsv(?:\.gz)?")


def open_cscc(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the sections whose counts lie in a folder; nothing is parsed.

    Raises:
        DataError: no such folder, counts without their spots, or an image that is still gzipped.
    """
    base = folder_of(card, data_dir, "GSE144240_RAW", "*_stdata.tsv*")
    entries = {}
    for path in sorted(base.glob("*_stdata.tsv*"), reverse=True):  # an unpacked table is preferred
        if match := _COUNTS.fullmatch(path.name):
            section, patient = match[1], match[2]
            spots = _one(base, f"*spot_data-selection-{section}.tsv*", f"{section}'s spots").name
            entries[section] = SectionEntry.model_validate(
                {"id": section, "patient": patient, "file": path.name, "spots": spots, "image": _image(base, section)}
            )
    reader = Reader({"cscc": VERSION}, lambda e, at: (at / e.file, at / str(e.spots)), _read, stated_image)
    return open_public(card, base, cache, tuple(entries.values()), reader)


def _read(entry: SectionEntry, base: Path) -> Section:
    places = read_selection(base / str(entry.spots))
    return array_section(entry, read_count_table(base / entry.file), places, PITCH_MICRONS, SPOT_MICRONS)


def _one(base: Path, pattern: str, what: str) -> Path:
    found = sorted(base.glob(pattern), key=lambda path: (path.suffix == ".gz", path.name))
    if not found:
        raise DataError(f"Expected {what} in {base / pattern}, found none; fetch it too.")
    return found[0]


def _image(base: Path, section: str) -> str | None:
    found = sorted(base.glob(f"*{section}.jpg*"), key=lambda path: path.suffix == ".gz")
    if not found:
        return None
    if found[0].suffix == ".gz":
        raise DataError(f"Expected {found[0].with_suffix('').name} in {base}, found it gzipped; unpack it with gunzip.")
    return found[0].name

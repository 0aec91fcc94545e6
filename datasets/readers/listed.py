"""What all readers of a user's own sections share: finding the files, hashing them, caching what was parsed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import ConfigurationError, DataError, reading
from ...names import UNNAMED
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..entry import EntryWriter
from ..hashing import canonical_hash, file_sha256
from ..registry import Dataset, DatasetCard, SectionInfo
from ..scale import Stated
from ..section import Section
from ..slides.kind import image_hash
from ..stored_tables import joined, parted, store_counts, stored_section
from .placement import place_spots
from .scaling import in_pixels_of

_OPTIONS = ("library", "bin", "layer", "symbols", "labels", "microns_per_pixel", "spot_diameter", "pixel_scale")


@dataclass(frozen=True)
class Reader:
    """A format: which files a section is made of, and how they are read.

    Attributes:
        versions: of the code that reads the format, by name: raised when the same files would give other values.
        tables: the files that hold counts and coordinates.
        image: the image, or None.
        read: parses them into a `Section`; coordinates as stated, before any `pixel_scale`, and what was found said of
            their microns per pixel in `scales`.
    """

    versions: Mapping[str, int]
    tables: Callable[[SectionEntry, Path], tuple[Path, ...]]
    read: Callable[[SectionEntry, Path], Section]
    image: Callable[[SectionEntry, Path], Path | None]


def stated_image(entry: SectionEntry, base: Path) -> Path | None:
    """The image that the card names."""
    return None if entry.image is None else base / entry.image


def left_out(spots: int) -> tuple[str, ...]:
    """The note on spots that do not lie under tissue."""
    return (f"{spots} spots outside the tissue are left out",) if spots else ()


def open_listed(card: DatasetCard, data_dir: Path | None, cache: ArrayCache, reader: Reader) -> Dataset:
    """Open the sections that a card lists; nothing is parsed.

    Raises:
        ConfigurationError: a card without sections, or with two of one id.
        DataError: a file that is not there.
    """
    if not card.sections:
        raise ConfigurationError(
            f"The card of {card.name} lists no sections; add them, or write it with 'qbench data add'."
        )
    twice = [name for name, times in Counter(entry.id for entry in card.sections).items() if times > 1]
    if twice:
        raise ConfigurationError(
            f"The card of {card.name} lists {', '.join(twice)} more than once; give each section an id of its own."
        )
    base = Path() if data_dir is None else data_dir
    entries = {entry.id: entry for entry in sorted(card.sections, key=lambda entry: entry.id)}
    infos = tuple(_info(entry, base, reader, cache) for entry in entries.values())
    load = partial(_load, entries=entries, base=base, reader=reader, cache=cache, markers=card.marker_genes)
    return Dataset(card, infos, load, _patient_notes(infos), reader.versions)


def _info(entry: SectionEntry, base: Path, reader: Reader, cache: ArrayCache) -> SectionInfo:
    image = reader.image(entry, base)
    tables = reader.tables(entry, base)
    for path in (*tables, *(() if image is None else (image,))):
        if not path.exists():
            raise DataError(
                f"Section {entry.id}: expected {path}, but there is no such file; mend its card or --data-dir."
            )
        if not path.is_file():  # a pipe would be waited for
            raise DataError(
                f"Section {entry.id}: expected a file at {path}, found none that is regular; give the file itself."
            )
    # Without id and patient: the same data listed twice must look the same to the check against leaks.
    content = canonical_hash(
        {
            "reader": dict(reader.versions),
            "files": [file_sha256(path, cache.root) for path in tables],
            "image": None if image is None else image_hash(image, cache.root),
            "options": {name: getattr(entry, name) for name in _OPTIONS},
        }
    )
    return SectionInfo(entry.id, entry.patient or UNNAMED, image, entry.labels is not None, content)


def _patient_notes(infos: tuple[SectionInfo, ...]) -> tuple[str, ...]:
    notes = []
    unnamed = [info.id for info in infos if info.patient == UNNAMED]
    if unnamed:
        notes.append(
            f"No patient is named for {', '.join(unnamed)}: leak-free folds cannot be promised, and the patient "
            "protocol is refused."
        )
    spellings: dict[str, set[str]] = defaultdict(set)
    for info in infos:
        spellings["".join(c for c in info.patient.casefold() if c.isalnum())].add(info.patient)
    for found in spellings.values():
        if len(found) > 1:
            names = " and ".join(f"'{name}'" for name in sorted(found))
            notes.append(
                f"Patients {names} differ in spelling only; if they are one person, the folds leak: mend the card."
            )
    return tuple(notes)


def _load(
    info: SectionInfo,
    entries: dict[str, SectionEntry],
    base: Path,
    reader: Reader,
    cache: ArrayCache,
    markers: tuple[str, ...],
) -> Section:
    entry = entries[info.id]

    def build(writer: EntryWriter) -> None:
        with reading(f"section {info.id}", base / entry.file, "mend the file, or fetch it again"):
            section = in_pixels_of(info.image, reader.read(entry, base), entry)
        _store(writer, place_spots(section, info.image, entry.pixel_scale is not None))

    stored = cache.get("sections", info.content, build)
    genes = parted(stored.arrays["genes"])
    if markers and not set(markers) & set(genes):
        raise DataError(
            f"Section {info.id}: expected some of the card's markers ({', '.join(markers[:3])}, ...) among its genes, "
            f"found none of them (its genes are {', '.join(genes[:3])}, ...); name the column of gene symbols with "
            "'symbols:', or mend the markers."
        )
    return stored_section(
        info,
        stored,
        microns_per_pixel=stored.metadata["microns_per_pixel"],
        scales=tuple(Stated(*stated) for stated in stored.metadata["scales"]),
        spot_diameter=stored.metadata["spot_diameter"],
    )


def _store(writer: EntryWriter, section: Section) -> None:
    counts = section.counts.copy()
    counts.sum_duplicates()
    counts.eliminate_zeros()
    store_counts(writer, counts)
    writer.store("array_xy", np.asarray(section.array_xy, np.float64))
    if section.pixel_xy is not None:
        writer.store("pixel_xy", np.asarray(section.pixel_xy, np.float64))
    for name, values in (("spots", section.spots), ("genes", section.genes), ("labels", section.labels)):
        if values is not None:
            writer.store(name, joined(values))
    writer.metadata = {
        "microns_per_pixel": section.microns_per_pixel,
        "scales": [[stated.microns, stated.source] for stated in section.scales],
        "spot_diameter": section.spot_diameter,
        "notes": list(section.notes),
    }

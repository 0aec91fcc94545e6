"""Downstream figures of the cells of a runs folder: those that are missing or of other definitions are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...datasets.cache import ArrayCache
from ...datasets.registry import Dataset, open_dataset
from ...errors import ConfigurationError, DataError
from ...leaderboard.downstream import StoredDownstream, read_stored
from ...leaderboard.record import Record
from .cell import Labels, Memory, section_labels, spots_by_section, write
from .domains import check_installed
from .gene_sets import GeneSets

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Done:
    """How many cells were made and read, and notes for who asked."""

    made: int
    read: int
    notes: tuple[str, ...]


def make_all(
    found: Sequence[tuple[Path, Record]], sets: GeneSets, labels: Mapping[str, Labels], progress: Progress
) -> Done:
    """Make what is missing of the done cells, those of one fold after each other, as they share the truth.

    Args:
        found: folders and records.
        sets: set -> genes.
        labels: dataset -> its labels, of the datasets that are at hand.
        progress: told after each cell.

    Raises:
        ConfigurationError: igraph is not installed.
        DataError: a cell's files that are missing or damaged.
    """
    check_installed()
    cells = [(folder, record) for folder, record in found if record.status == "done"]
    cells = [(folder, record) for folder, record in cells if (folder / "predictions.h5ad").is_file()]
    cells.sort(key=lambda cell: (cell[1].protocol.hash, cell[1].fold.name, cell[0].name))
    memory, at, made = Memory(), ("", ""), 0
    held: list[StoredDownstream] = []
    for number, (folder, record) in enumerate(cells, start=1):
        fold = (record.protocol.hash, record.fold.name)
        if fold != at:
            memory, at = Memory(), fold
        known = labels.get(record.protocol.tested)
        stored = _readable(folder)
        if stored is None or not _current(stored, record, sets, known):
            kept = {} if stored is None or not stored.of(record) else _by_spot(folder, stored)
            stored = write(folder, record, sets, section_labels(folder, known if known is not None else kept), memory)
            made += 1
        held.append(stored)
        progress("downstream", number, len(cells))
    return Done(made, len(cells) - made, tuple(_notes(cells, held, sets)))


def read_labels(datasets: Mapping[str, str], data_dir: Path | None) -> tuple[dict[str, Labels], list[str]]:
    """The pathologist's labels of datasets that are at hand, and notes on those that are not.

    Args:
        datasets: name -> name or path of its card.
        data_dir: folder of the files.
    """
    out, notes = {}, []
    for name, card in datasets.items():
        try:
            out[name] = labels_of(open_dataset(card, data_dir, ArrayCache()))
        except (ConfigurationError, DataError) as error:
            notes.append(f"No labels of {name}, so none is compared with: {error}")
    return out, notes


def labels_of(dataset: Dataset) -> Labels:
    """Section -> spot -> label, of the sections that a pathologist labelled."""
    out = {}
    for info in dataset.sections:
        if info.labels and (section := dataset.load(info.id)).labels is not None:
            out[info.id] = dict(zip(section.spots, section.labels, strict=True))
    return out


def _readable(folder: Path) -> StoredDownstream | None:
    """What is stored; a damaged file is made anew, as the predictions that it was made of are there."""
    try:
        return read_stored(folder)
    except DataError:
        return None


def _current(stored: StoredDownstream, record: Record, sets: GeneSets, labels: Labels | None) -> bool:
    same = {name: tuple(genes) for name, genes in sets.items()} == dict(stored.sets)
    due = None if labels is None else {name for name in stored.figures if name in labels}
    return stored.of(record) and same and list(stored.sets) == list(sets) and due in (None, set(stored.labels))


def _by_spot(folder: Path, stored: StoredDownstream) -> Labels:
    """The labels that a file already has, for a run where the dataset is not at hand."""
    spots = spots_by_section(folder)
    return {name: dict(zip(spots[name], own, strict=True)) for name, own in stored.labels.items()}


def _notes(cells: Sequence[tuple[Path, Record]], held: Sequence[StoredDownstream], sets: GeneSets) -> list[str]:
    """What was left out: gene sets without enough genes in a panel, sections with too few spots, constant predictions."""
    short: dict[str, None] = {}
    small: dict[str, None] = {}
    for (_, record), stored in zip(cells, held, strict=True):
        for section, figures in stored.figures.items():
            short |= {name: None for name in sets if figures.get(f"set:{name}") is None}
            if "near_all" not in figures:
                small[f"{record.protocol.tested} {section}"] = None
    notes = []
    if short:
        notes.append(f"Gene sets with fewer than three genes in a panel are not scored there: {', '.join(short)}.")
    if small:
        notes.append(f"Sections with fewer than 30 spots have no figures of space and domains: {', '.join(small)}.")
    return notes

"""Datasets by name: YAML cards, and the readers that they name."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import chain
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import ConfigurationError, unknown
from ..names import UNNAMED, check_labels, check_name, patient_name
from ..registries import Registry
from ..yaml_files import read_model
from .cache import ArrayCache
from .card_parts import SamePatients, SectionEntry
from .present import sections_present
from .protocol import Given
from .readers.registry import READERS
from .section import Section
from .sources import Source

_FOLDER = resources.files("qbench.configs").joinpath("datasets")
# Another package's entry point is the path of a card, or a function that returns one.
DATASETS = Registry(
    "dataset",
    "qbench.datasets",
    {p.name.removesuffix(".yaml"): p.name for p in sorted(_FOLDER.iterdir(), key=str) if p.name.endswith(".yaml")},
)
names = DATASETS.names


class DatasetCard(BaseModel):
    """What is known of a dataset before it is opened; one YAML file in `configs/datasets`, or a user's own.

    Attributes:
        reader: a name in `READERS`, never a function to import: cards come from strangers.
        needs_folder: the reader wants `data_dir`; else it makes or finds its data itself.
        expected: of the complete data, patient -> section -> spots (None: not known); a list is of sections 1, 2, ...
        markers: the marker genes (MG) by group; `markers_name` names the list.
        gene_lists: further named lists, never part of MG.
        technical_genes: genes that the data's authors flagged as artefacts.
        same_patients: who is in other datasets, too.
        folder: where the files lie, relative to the card's own file; `--data-dir` wins.
        sections: what a card lists for the readers h5ad, hest, spatialdata, tables and visium.
        sources: where the files can be fetched, the preferred one first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    simulated: bool
    reader: str
    licence: str = "not stated"
    citation: str = "not stated"
    url: str | None = None
    needs_folder: bool = True
    expected: dict[str, tuple[int, ...] | dict[str, int | None]] = Field(default_factory=dict)
    markers_name: str | None = None
    markers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    gene_lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    technical_genes: tuple[str, ...] = ()
    same_patients: tuple[SamePatients, ...] = ()
    notes: tuple[str, ...] = ()
    folder: str = "."
    sections: tuple[SectionEntry, ...] = ()
    sources: dict[str, Source] = Field(default_factory=dict)

    @field_validator("reader")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        if name in READERS.shipped or name in READERS.names():
            return name
        raise unknown("reader", name, READERS.names())

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return check_name("a dataset", value)

    @model_validator(mode="after")
    def _labels(self) -> DatasetCard:
        check_labels("a dataset's title", [self.title])
        check_labels("a gene list", [*self.markers, *self.gene_lists])
        check_labels("a gene", [*self.marker_genes, *self.technical_genes, *chain(*self.gene_lists.values())])
        return self

    @property
    def expected_spots(self) -> dict[str, int | None]:
        """Spots of each section of the complete data, None where they are not known."""
        return {section: n for patient in self.expected for section, n in self._sections(patient).items()}

    @property
    def expected_patients(self) -> dict[str, str]:
        """Patient of each section of the complete data."""
        return {section: patient for patient in self.expected for section in self._sections(patient)}

    def _sections(self, patient: str) -> dict[str, int | None]:
        spots = self.expected[patient]
        return spots if isinstance(spots, dict) else {f"{patient}{i}": n for i, n in enumerate(spots, start=1)}

    @property
    def marker_genes(self) -> tuple[str, ...]:
        """All markers, in the order of the groups."""
        return tuple(gene for group in self.markers.values() for gene in group)


@dataclass(frozen=True)
class SectionInfo:
    """A section before anything of it is parsed; a `patient` that names nobody becomes UNNAMED, whatever the reader.

    `content` is a hash of the raw files that it is made of and of the reader's version; `labels`: a pathologist labelled it.

    Raises:
        ConfigurationError: an id that no path may hold, or a patient with control characters.
    """

    id: str
    patient: str
    image: Path | None
    labels: bool
    content: str

    def __post_init__(self) -> None:
        check_name("a section", self.id)
        object.__setattr__(self, "patient", patient_name(self.patient) or UNNAMED)


@dataclass(frozen=True)
class Dataset:
    """An opened dataset: sections sorted by id, loaded one by one; `notes` are findings that a run repeats once.

    `versions` are those of the code that reads it: raised when files would give other values. `tested`: of two `joined` ones the second.
    `given`: what a benchmark's task fixes.
    """

    card: DatasetCard
    sections: tuple[SectionInfo, ...]
    reader: Callable[[SectionInfo], Section]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    tested: Dataset | None = None
    given: Given | None = None

    def info(self, section_id: str) -> SectionInfo:
        """The named section.

        Raises:
            ConfigurationError: there is none of that name.
        """
        known = {info.id: info for info in self.sections}
        if section_id in known:
            return known[section_id]
        raise unknown("section", section_id, known)

    def load(self, section_id: str) -> Section:
        """Read a section; its parsed counts are kept in the cache.

        Raises:
            ConfigurationError, DataError: an unknown section; damaged tables.
        """
        return self.reader(self.info(section_id))


def origin(name: str) -> str:
    """The package that brought a dataset, or the file of its card."""
    return DATASETS.origin(name) if name in names() else name


def card(name: str) -> DatasetCard:
    """The card of a dataset, by name or, ending in .yaml, by its path.

    Raises:
        ConfigurationError: an unknown name, or a card that does not hold what it must.
    """
    path = _path(name)
    if path is not None:
        if not path.exists():
            raise ConfigurationError(
                f"Expected a dataset's card in {path}, but there is no such file; write one with 'qbench data add'."
            )
        return read_card(path)
    return _shipped_card(name)


def read_card(path: Path | resources.abc.Traversable) -> DatasetCard:
    """A card from a YAML file.

    Raises:
        ConfigurationError: it cannot be read, or does not hold what a card must; names the first field.
    """
    return read_model(path, DatasetCard, "a dataset's card", "docs/own-data.md")


def open_dataset(name: str, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open a dataset without parsing anything.

    `data_dir` falls back to the folder that a user's own card states, else to the environment variable QBENCH_DATA.

    Raises:
        ConfigurationError: an unknown dataset.
        DataError: no folder, or not what the card expects.
    """
    found = card(name)
    path = _path(name)
    if data_dir is None and path is not None:
        data_dir = path.parent / found.folder
    if data_dir is None and found.needs_folder and os.environ.get("QBENCH_DATA"):
        data_dir = Path(os.environ["QBENCH_DATA"])
    if path is None and found.sections:
        found = found.model_copy(update={"sections": sections_present(found.name, found.sections, data_dir)})
    open_with = READERS.load(found.reader, lambda value: value)
    dataset = open_with(found, data_dir, cache)
    if not isinstance(dataset, Dataset):
        raise ConfigurationError(
            f"The reader {found.reader} of dataset {found.name} must return a Dataset, found {type(dataset).__name__}; mend it."
        )
    return dataset


def _path(name: str) -> Path | None:
    """The file of a card that is not one of ours, or None."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    if name in DATASETS.shipped:
        return None
    return DATASETS.load(name, lambda value: Path(value() if callable(value) else value))


@cache
def _shipped_card(name: str) -> DatasetCard:
    return read_card(_FOLDER.joinpath(f"{name}.yaml"))

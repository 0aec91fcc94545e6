"""Datasets by name: YAML cards, and the readers that they name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigurationError, unknown
from .cache import ArrayCache
from .card_parts import SectionEntry, Source
from .section import Section

GROUP = "qbench.datasets"  # entry points of other packages: name -> path of a card, or a function that returns one
UNNAMED = "unnamed"  # patient of a section whose card names none; such a section may not be held out by patient
READERS = {
    "h5ad": "qbench.datasets.readers.h5ad:open_h5ad",
    "hest": "qbench.datasets.readers.hest:open_hest",
    "tables": "qbench.datasets.readers.tables:open_tables",
    "visium": "qbench.datasets.readers.visium:open_visium",
}


class DatasetCard(BaseModel):
    """What is known of a dataset before it is opened; one YAML file in `configs/datasets`, or a user's own.

    Attributes:
        reader: "package.module:function", called with (card, data_dir, cache), returns a `Dataset`; or h5ad, hest,
            tables or
            visium, for the sections that the card lists.
        needs_folder: the reader wants `data_dir`; else it makes or finds its data itself.
        expected: spots of the sections 1, 2, ... of each patient, of the complete data; empty where unknown.
        markers: the marker genes (MG) by group; `markers_name` names the list.
        gene_lists: further named lists, never part of MG.
        technical_genes: genes that the data's authors flagged as artefacts.
        folder: where the files lie, relative to the card's own file; `--data-dir` wins.
        sections: what a user's own card lists. sources: where the files can be fetched, the preferred one first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    simulated: bool
    reader: str = Field(pattern=r"^[\w.]+:\w+$|^(h5ad|hest|tables|visium)$")
    licence: str = "not stated"
    citation: str = "not stated"
    url: str | None = None
    needs_folder: bool = True
    expected: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    markers_name: str | None = None
    markers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    gene_lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    technical_genes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folder: str = "."
    sections: tuple[SectionEntry, ...] = ()
    sources: dict[str, Source] = Field(default_factory=dict)

    @property
    def expected_spots(self) -> dict[str, int]:
        """Spots of each section of the complete data, by section id."""
        return {f"{patient}{i}": n for patient, spots in self.expected.items() for i, n in enumerate(spots, start=1)}

    @property
    def marker_genes(self) -> tuple[str, ...]:
        """All markers, in the order of the groups."""
        return tuple(gene for group in self.markers.values() for gene in group)


@dataclass(frozen=True)
class SectionInfo:
    """A section before anything of it is parsed.

    `content` is a hash of the raw files that it is made of (tables, labels, image) and of the reader's version;
    `labels` says whether a pathologist labelled it.
    """

    id: str
    patient: str
    image: Path | None
    labels: bool
    content: str


@dataclass(frozen=True)
class Dataset:
    """An opened dataset: sections sorted by id, loaded one by one; `notes` are findings that a run repeats once."""

    card: DatasetCard
    sections: tuple[SectionInfo, ...]
    reader: Callable[[SectionInfo], Section]
    notes: tuple[str, ...] = ()

    def info(self, section_id: str) -> SectionInfo:
        """The named section.

        Raises:
            ConfigurationError: there is none of that name.
        """
        for info in self.sections:
            if info.id == section_id:
                return info
        raise unknown("section", section_id, [info.id for info in self.sections])

    def load(self, section_id: str) -> Section:
        """Read a section; its parsed counts are kept in the cache.

        Raises:
            ConfigurationError: an unknown section. DataError: damaged tables.
        """
        return self.reader(self.info(section_id))


def names() -> list[str]:
    """Names of all datasets: those that qbench ships, sorted, then those of other packages."""
    return [*_shipped(), *(name for name in sorted(_plugins()) if name not in _shipped())]


def origin(name: str) -> str:
    """The package that brought a dataset, or the file of its card."""
    return "qbench" if name in _shipped() else _plugins()[name][1] if name in _plugins() else name


def card(name: str) -> DatasetCard:
    """The card of a dataset, by name or, ending in .yaml, by its path.

    Raises:
        ConfigurationError: an unknown name, or a card that does not hold what it must.
    """
    path = _path(name)
    if path is not None:
        if not path.is_file():
            raise ConfigurationError(
                f"Expected a dataset's card at {path}, but there is no such file; write one with 'qbench data add'."
            )
        return read_card(path)
    if name not in _shipped():
        raise unknown("dataset", name, names())
    return _shipped_card(name)


def read_card(path: Path | resources.abc.Traversable) -> DatasetCard:
    """A card from a YAML file.

    Raises:
        ConfigurationError: it cannot be read, or does not hold what a card must; names the first field.
    """
    try:
        return DatasetCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(
            f"Expected a dataset's card in {path}, but {where}: {first['msg']}; see docs/own-data.md."
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"Expected a dataset's card in {path}, but it cannot be read: {error}.") from error


def open_dataset(name: str, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open a dataset without parsing anything.

    `data_dir` falls back to the folder that a user's own card states, else to the environment variable QBENCH_DATA.

    Raises:
        ConfigurationError: an unknown dataset. DataError: no folder, or not what the card expects.
    """
    found = card(name)
    path = _path(name)
    if data_dir is None and path is not None:
        data_dir = path.parent / found.folder
    if data_dir is None and found.needs_folder and os.environ.get("QBENCH_DATA"):
        data_dir = Path(os.environ["QBENCH_DATA"])
    reader = READERS.get(found.reader, found.reader)
    module, _, function = reader.partition(":")
    try:
        open_with = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"The reader {reader} of dataset {found.name} cannot be imported ({error}); install or mend that package."
        ) from error
    dataset = open_with(found, data_dir, cache)
    if not isinstance(dataset, Dataset):
        raise ConfigurationError(
            f"The reader {reader} of dataset {found.name} must return a Dataset, found {type(dataset).__name__}."
        )
    return dataset


def _path(name: str) -> Path | None:
    """The file of a card that is not one of ours, or None."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    return _plugins()[name][0] if name not in _shipped() and name in _plugins() else None


@cache
def _plugins() -> dict[str, tuple[Path, str]]:
    """Cards that other packages bring: entry points to a path, or to a function without arguments that returns one."""
    found = {}
    for entry in entry_points(group=GROUP):
        source = entry.dist.name if entry.dist is not None else "an installed package"
        try:
            value = entry.load()
            found[entry.name] = (Path(value() if callable(value) else value), source)
        except Exception as error:
            raise ConfigurationError(
                f"The dataset '{entry.name}' of {source} raised {type(error).__name__} on import: {error}; "
                "mend or remove that package."
            ) from error
    return found


@cache
def _shipped_card(name: str) -> DatasetCard:
    return read_card(_folder().joinpath(f"{name}.yaml"))


def _shipped() -> list[str]:
    return sorted(p.name.removesuffix(".yaml") for p in _folder().iterdir() if p.name.endswith(".yaml"))


def _folder() -> resources.abc.Traversable:
    return resources.files(__package__.rpartition(".")[0] + ".configs").joinpath("datasets")

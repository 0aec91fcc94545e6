"""Datasets by name: YAML cards, and the readers that they name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigurationError, unknown
from .cache import ArrayCache
from .section import Section


class DatasetCard(BaseModel):
    """What is known of a dataset before it is opened; one YAML file in `configs/datasets`.

    Attributes:
        reader: "package.module:function", called with (card, data_dir, cache), returns a `Dataset`.
        needs_folder: the reader wants `data_dir`; else it makes or finds its data itself.
        expected: spots of the sections 1, 2, ... of each patient, of the complete data; empty where unknown.
        markers: the marker genes (MG) by group; `markers_name` names the list.
        gene_lists: further named lists, never part of MG.
        technical_genes: genes that the data's authors flagged as artefacts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    simulated: bool
    reader: str = Field(pattern=r"^[\w.]+:\w+$")
    licence: str
    citation: str
    url: str | None = None
    needs_folder: bool = True
    expected: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    markers_name: str | None = None
    markers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    gene_lists: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    technical_genes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
    """An opened dataset: sections sorted by id, loaded one by one."""

    card: DatasetCard
    sections: tuple[SectionInfo, ...]
    reader: Callable[[SectionInfo], Section]

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
    """Names of all datasets, sorted."""
    return sorted(p.name.removesuffix(".yaml") for p in _folder().iterdir() if p.name.endswith(".yaml"))


@cache
def card(name: str) -> DatasetCard:
    """The card of a dataset.

    Raises:
        ConfigurationError: an unknown name, or a card that does not hold what it must.
    """
    if name not in names():
        raise unknown("dataset", name, names())
    try:
        return DatasetCard.model_validate(
            yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
        )
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(f"Expected a dataset card in configs/datasets/{name}.yaml, but {error}.") from error


def open_dataset(name: str, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open a dataset without parsing anything; `data_dir` falls back to the environment variable QBENCH_DATA.

    Raises:
        ConfigurationError: an unknown dataset. DataError: no folder, or not what the card expects.
    """
    found = card(name)
    if data_dir is None and found.needs_folder and os.environ.get("QBENCH_DATA"):
        data_dir = Path(os.environ["QBENCH_DATA"])
    module, _, function = found.reader.partition(":")
    dataset = getattr(importlib.import_module(module), function)(found, data_dir, cache)
    if not isinstance(dataset, Dataset):
        raise ConfigurationError(
            f"The reader {found.reader} of dataset {name} must return a Dataset, found {type(dataset).__name__}."
        )
    return dataset


def _folder() -> resources.abc.Traversable:
    return resources.files(__package__.rpartition(".")[0] + ".configs").joinpath("datasets")

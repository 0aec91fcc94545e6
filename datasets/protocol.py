"""A protocol: everything about a comparison that is not the method or the seed; it has a name and a hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ..errors import unknown
from ..names import check_labels, check_name, path_part
from ..yaml_files import read_model
from . import panel, target
from .hashing import canonical_hash
from .target import TargetName

SHIPPED = files("qbench.configs") / "protocols"
HeldOutUnit = Literal["patient", "section", "groups", "spots", "splits"]  # "splits": those of the dataset's benchmark
VALIDATION_VERSION = 1  # of the rule in `folds`; raised when the same sections would be validated on others
VALIDATION_SHARE = 0.2  # of the only training section's spots, those with the largest x on its fitted array
TRANSFER = "transfer"  # the protocol of --test-on
TRANSFER_VERSION = 1  # panels of the genes that both datasets have; raised when a transfer would be made otherwise
POOLING_VERSION = 1  # genes, then sections of a patient, then patients; raised when figures are averaged otherwise


class HeldOut(BaseModel):
    """One held-out group of a protocol given as data: ids of patients or of sections, as the protocol's unit says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    test: tuple[str, ...]
    validation: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _names(self) -> HeldOut:
        if self.name not in self.test:  # else it is the label of a patient or a section, which their own rules hold
            check_name("a held-out group", self.name)
        check_labels("a patient or section", [*self.test, *(self.validation or ())])
        return self


class Given(BaseModel):
    """What a benchmark that others made fixes on its own samples.

    Attributes:
        folds: its splits, by the patients whom each tests; the others train, nobody validates.
        genes: those that it scores, chosen on all samples.
        genes_from: the file that lists them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    folds: tuple[HeldOut, ...]
    genes: tuple[str, ...]
    genes_from: str


class ProtocolFile(BaseModel):
    """A protocol as written in YAML, before it meets a dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    held_out: HeldOutUnit
    unit: Literal["patient", "section", "spot"]  # what the ids in `folds` name, and what must not stand on two sides
    dataset: str | None = None  # a protocol that lists ids belongs to one dataset
    sections: tuple[str, ...] | None = None
    folds: tuple[HeldOut, ...] | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return check_name("a protocol", value)

    @model_validator(mode="after")
    def _spots(self) -> ProtocolFile:
        if (self.held_out == "spots") != (self.unit == "spot") or (self.unit == "spot" and self.folds is not None):
            raise ValueError("Expected unit: spot with held_out: spots, and no folds beside it; every section is one.")
        return self

    @model_validator(mode="after")
    def _splits(self) -> ProtocolFile:
        if self.held_out == "splits" and (self.unit != "patient" or self.folds is not None):
            raise ValueError(
                "Expected unit: patient with held_out: splits, and no folds beside it; its dataset has them."
            )
        return self

    @model_validator(mode="after")
    def _labels(self) -> ProtocolFile:
        check_labels("a protocol's title, dataset or section", [self.title, self.dataset or "", *(self.sections or ())])
        return self


def rules(
    markers: Mapping[str, Iterable[str]], technical_genes: Iterable[str], transfer: bool = False
) -> dict[str, Any]:
    """The rules in force, as versions and values, JSON-able; the order of marker groups and genes is that of the panel."""
    return {
        **({"transfer": TRANSFER_VERSION} if transfer else {}),
        "validation": VALIDATION_VERSION,
        "validation_share": VALIDATION_SHARE,
        "panel": panel.PANEL_VERSION,
        "panel_size": panel.PANEL_SIZE,
        "headline": panel.HEADLINE,
        "markers": [[group, list(genes)] for group, genes in markers.items()],
        "technical_genes": sorted(technical_genes),
        "target": target.TARGET_VERSION,
        "pooling": POOLING_VERSION,
    }


class Protocol(BaseModel):
    """A protocol on a dataset: what the title of every table names.

    The hash covers every field but the title: dataset, sections with their patients and contents, held-out unit, folds,
    target, and the rules of validation, panel and pooling. Folds, panels and validation follow from it, the same for all
    methods and seeds.

    Attributes:
        test_dataset: whose sections are tested, where it is another one than the others'; see `joined`.
        patients: section -> patient.
        data: hash of the parsed contents of all sections.
        rules: see `rules`.
        genes: of a benchmark that fixes them, which no fold chooses; None, and then no part of what is hashed, elsewhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    dataset: str
    test_dataset: str | None = None
    sections: tuple[str, ...]
    held_out: HeldOutUnit
    unit: Literal["patient", "section", "spot"]
    folds: tuple[HeldOut, ...] | None = None
    target: TargetName = "counts"
    images: bool = True
    patients: dict[str, str] = Field(default_factory=dict)
    data: str = ""
    rules: dict[str, Any] = Field(default_factory=dict)
    genes: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A protocol on one dataset says nothing of another, nor one that chooses its genes of given ones, as before either."""
        unset = {("test_dataset", None), ("genes", None)}
        return {name: value for name, value in dump(self).items() if value is not None or (name, value) not in unset}

    @property
    def hash(self) -> str:
        """12 hex digits."""
        return canonical_hash(self.model_dump(mode="json", exclude={"title"}))[:12]

    @property
    def folder(self) -> str:
        """Name of its folder below the runs folder."""
        to = "" if self.test_dataset is None else f"-{path_part(self.test_dataset)}"
        start = f"{path_part(self.dataset)}-{path_part(self.name)}{to}-{self.target}"
        return f"{start}{'' if self.images else '-noimages'}-{self.hash}"


def names() -> list[str]:
    """The protocols that qbench ships."""
    return sorted(path.name.removesuffix(".yaml") for path in SHIPPED.iterdir() if path.name.endswith(".yaml"))


def read_protocol(name: str) -> ProtocolFile:
    """A shipped protocol by name, or one from a YAML file by path.

    Raises:
        ConfigurationError: an unknown name, or a file that is no protocol.
    """
    if name.endswith((".yaml", ".yml")):
        return read_model(Path(name), ProtocolFile, "a protocol", "docs/protocols.md")
    if name not in names():
        raise unknown("protocol", name, names())
    return read_model(SHIPPED / f"{name}.yaml", ProtocolFile, "a protocol", "docs/protocols.md")

"""The typed, versioned record of one cell: what was asked, what it resolved to, and what came out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ..errors import ConfigurationError, IntegrityError, QbenchError, reading
from ..files import regular_bytes
from ..names import shown
from ..yaml_files import dotted, fault
from .part import Part, SparingPart
from .seal import own_hash

SCHEMA = 2  # 2: the identity holds the whole fold and the rules


def _visible(name: str) -> str:
    """A name as it is printed: a runs folder of others may hold what a terminal acts on."""
    if not name.isprintable():
        raise ValueError(f"expected a name without control characters, found '{shown(name)}'")
    return name


Name = Annotated[str, AfterValidator(_visible)]


class MethodRecord(Part):
    """A method with its resolved parameters."""

    name: Name
    label: Name  # as asked: "qca" or "qca[alpha=0.5]"
    version: int
    kind: Literal["method", "control", "oracle", "external"]
    profile: Literal["fast", "paper"]
    parameters: dict[str, Any]
    settings: dict[str, Any]  # only what the user changed from the profile
    context: Literal["spot", "section"] = "spot"
    n_parameters: int = 0
    origin: Name = "qbench"


class EncoderRecord(SparingPart):
    """Where features came from, or the network that the method trained itself (`frozen` false)."""

    UNSAID: ClassVar[dict[str, Any]] = {"evaluation": "eager:fp32"}
    name: Name
    weights: Name  # sha256 of the file, or "random"
    version: int
    runtime: Name  # of the training steps, of a network that was trained
    dtype: Name
    frozen: bool = True
    evaluation: Name = "eager:fp32"  # of that network where nothing is learned


class PatchRecord(SparingPart):
    """Patch edge in pixels, the physical size they were resampled to (None: native pixels), and how their stain was treated."""

    UNSAID: ClassVar[dict[str, Any]] = {"stain": "none"}
    size: int
    microns_per_pixel: float | None = None
    stain: Literal["none", "grey", "macenko"] = "none"


class ProtocolRecord(SparingPart):
    """The protocol that a number is from; records of two hashes are never put in one table."""

    UNSAID: ClassVar[dict[str, Any]] = {"test_dataset": None}
    name: Name
    hash: Name
    dataset: Name
    test_dataset: Name | None = None  # where another one than `dataset` is tested
    simulated: bool
    held_out: Literal["patient", "section", "groups", "spots", "splits"]
    leaky: bool
    target: Literal["counts", "proportion"]
    images: bool
    sections: tuple[Name, ...]
    definition: dict[str, Any]

    @property
    def tested(self) -> str:
        """The dataset whose sections are predicted."""
        return self.test_dataset or self.dataset


class FoldRecord(Part):
    """Sections of each side; `patient_in_training` only ever holds in a leaky protocol.

    `test_patients` is the patient of each section of `test`, in that order (or one name for all of them).
    """

    name: Name
    test: tuple[Name, ...]
    test_patients: tuple[Name, ...]
    train: tuple[Name, ...]
    validation: tuple[Name, ...]
    validation_rule: Name
    patient_in_training: bool
    n_train_spots: int
    n_validation_spots: int
    n_test_spots: int


class Hashes(Part):
    """sha256 of what went in and what came out; equal records agree in `predictions` and `scores`.

    `files` are of the files beside the record, `record` of its own (see `seal`); records of before have neither.
    """

    data: str
    split: str
    panel: str
    model: str | None = None
    predictions: str | None = None
    scores: str | None = None
    files: dict[str, str] | None = None
    record: str | None = None


class Failure(Part):
    """What stopped a cell."""

    type: str
    message: str
    traceback: str


class Environment(Part):
    """Recorded, but not part of the identity."""

    qbench: str
    python: str
    packages: dict[str, str]
    system: str
    cpu: str
    gpu: str | None
    git: str | None


class Record(Part):
    """One cell: a method with its parameters, on one fold of one protocol, with one seed.

    Records of schema 1 are read all the same, in tables of their own: their protocols' hashes hold neither patients nor data.
    `scores` maps section -> figure -> value (means over genes), `patients` maps test patient -> figure -> value for the
    pooled figures, `whole` a benchmark's own figures of all test spots; null where no gene defines it. `undefined_*`: numbers of pairs.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, strict=True)
    cell: str  # sha256 of `identity`
    identity: dict[str, Any] = Field(default_factory=dict)  # all that decides the numbers
    status: Literal["done", "failed"]
    method: MethodRecord
    encoder: EncoderRecord | None
    patches: PatchRecord | None
    protocol: ProtocolRecord
    fold: FoldRecord
    seed: int
    select: Literal["mse", "pcc"]
    max_epochs: int | None
    device: str
    precision: str
    threads: int
    hashes: Hashes
    panel: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # "hvg", "heg", "mg", and "mg:<group>"
    markers_missing: tuple[str, ...] = ()
    genes_missing: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # section -> panel genes that read 0 there
    n_genes: int = 0
    scores: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    pooled: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    whole: dict[str, float | None] = Field(default_factory=dict)
    export_clipped: int = 0
    epochs: int = 0
    selected_epoch: int | None = None
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    peak_device_memory_mb: float | None = None  # of a GPU, what tensors took at most; records of before do not say
    started: str = ""
    warnings: tuple[str, ...] = ()
    tuned: dict[str, Any] | None = None
    environment: Environment | None = None
    failure: Failure | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def track(self) -> str:
        """Tables are made per protocol and track: "fast" or "paper"."""
        return self.method.profile


def read_record(path: Path, edited: Callable[[str], None] | None = None) -> Record:
    """The record in a file, without its hash of itself; `edited` is told, instead of an error, that this does not hold.

    Raises:
        ConfigurationError, DataError: as in `parse_record`; or a file that cannot be read.
        IntegrityError: bytes that are not those that were written; records of before hold no hash of themselves.
    """
    with reading("a qbench record", path, "delete its folder and run the cell again"):
        text = regular_bytes(path).decode()
    record = parse_record(text, str(path), "Delete its folder and run the cell again.")
    stated = record.hashes.record
    if stated is not None and own_hash(text, stated) != stated:
        words = f"Expected the record in {path} as it was written, but its sha256 differs; delete its folder and run the cell again."
        if edited is None:
            raise IntegrityError(words)
        edited(words)
    return record.model_copy(update={"hashes": record.hashes.model_copy(update={"record": None})})


def parse_record(text: str, place: str, remedy: str) -> Record:
    """The record in a text that was read from `place`; `remedy` ends the sentence on one that is none.

    Raises:
        ConfigurationError: a newer schema, or a text that is no record.
    """
    try:
        found = from_json(text).get("schema")
    except (ValueError, AttributeError):
        found = None
    if isinstance(found, int) and found > SCHEMA:  # asked first: it may well validate and mean something else
        raise ConfigurationError(
            f"{place} was written by a newer qbench (schema {found}, this one reads {SCHEMA}); upgrade qbench to read it."
        )
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        where, words = fault(error, Record)
        said = f"Expected a qbench record in {place}, but {dotted(where)}: {words} {remedy}"
        raise ConfigurationError(said) from error


def find_records(runs: Path, damaged: Callable[[str], None] | None = None) -> list[tuple[Path, Record]]:
    """All records below a runs folder by path, with their folders; `damaged` is told what cannot be read, else it is raised."""
    found = []
    for path in (path for path in sorted(runs.glob("*/*/record.json")) if not path.parent.name.startswith(".")):
        try:
            found.append((path.parent, read_record(path)))
        except QbenchError as error:
            if damaged is None:
                raise
            damaged(str(error))
    return found

"""A fitted model's folder: `method.json` and `model.safetensors` of the method, and `fit.json`: what it reads.

`fit.json` holds the gene panel, the encoders with the hashes of their weights, the patch size and the magnification,
so that the inputs can be made again elsewhere, exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...datasets.hashing import canonical_hash
from ...errors import ConfigurationError, DataError, IntegrityError, MethodError, reading
from ...files import plain_sha256, write_text, written_folder
from ...leaderboard.record import PatchRecord
from ...methods.encoders.registry import EncoderSpec, Weights, card, resolve, say_what_is_slow
from ...methods.machine import choose_evaluation, resolve_device
from ...methods.method import Inputs, Method
from ...methods.registry import load_method
from ...text_files import read_text
from ...yaml_files import dotted, fault
from ..engine.store import unwritable

FIT = "fit.json"
_AGAIN = "copy the model again, or fit it anew"
SCHEMA = 2  # 2: `identity`


class PanelRecord(BaseModel):
    """The genes that are predicted, in order, and the lists among them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    genes: tuple[str, ...]
    n_ranked: int
    hvg: tuple[str, ...]
    heg: tuple[str, ...]
    markers: dict[str, tuple[str, ...]]


class FitRecord(BaseModel):
    """What `qbench fit` did.

    Attributes:
        method: label with settings.
        origin: the package or file that brought it.
        profile, target: as in a run; weights that were converted predict in whatever they were trained on, "as
            trained".
        train, validation: section -> patient; rule: how validation was chosen.
        native_microns: of the training sections' images, smallest, median and largest; empty where one is unknown.
        encoders: identity of each encoder by the name that the method uses ("" is the run's).
        fitted: parameters, seed and the like, for the reader.
        files: sha256 of the method's files beside it, by name.
        sha256: of all that the record says but this; empty, as `files`, in one of an older qbench, which is fitted
            again.
        identity: all that decides the model, as of a cell (see `benchmark.identity`); empty in a record of schema 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int = SCHEMA
    qbench: str
    method: str
    origin: str
    profile: Literal["fast", "paper"]
    target: Literal["counts", "proportion", "as trained"]
    dataset: str
    simulated: bool
    train: dict[str, str]
    validation: dict[str, str]
    rule: str
    panel: PanelRecord
    patch: PatchRecord
    native_microns: tuple[float, ...]
    encoders: dict[str, dict[str, Any]]
    fitted: dict[str, Any]
    identity: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    sha256: str = ""

    def digest(self) -> str:
        """sha256 of all that the record says but `sha256`."""
        return canonical_hash(self.model_dump(mode="json", exclude={"sha256"}))

    @property
    def microns_per_pixel(self) -> float | None:
        """Magnification of the patches that the method learned from; None where it is not known."""
        if self.patch.microns_per_pixel is not None:
            return self.patch.microns_per_pixel
        return self.native_microns[1] if self.native_microns else None


@dataclass(frozen=True)
class FittedModel:
    """A model ready to predict."""

    record: FitRecord
    method: Method
    inputs: Inputs
    encoders: Mapping[str, EncoderSpec]
    hash: str


def read_fit(folder: Path) -> FitRecord:
    """The record of a fit.

    Raises:
        DataError: no folder that `qbench fit` wrote.
    """
    path = folder / FIT
    text = read_text(path, "a model", "make one with 'qbench fit'")
    try:
        return FitRecord.model_validate_json(text)
    except ValidationError as error:
        where, words = fault(error, FitRecord)
        raise DataError(
            f"Expected the record of a fit in {path}, but {dotted(where)}: {words} Fit the model again with this qbench."
        ) from error


def _check_files(folder: Path, record: FitRecord) -> None:
    """Hold a model's files against the hashes in its record; one of an older qbench has none.

    Raises:
        IntegrityError: a file that is not the one that was written.
        DataError: one that is missing.
    """
    for name, due in record.files.items():
        with reading(f"a file of the model {record.method}", folder / name, _AGAIN):
            found = plain_sha256(folder / name)
        if found != due:
            raise IntegrityError(
                f"Expected {folder / name} as {FIT} names it, found another file (sha256 differs); {_AGAIN}."
            )


def load_model(folder: Path, weights: Mapping[str, Weights], device: str, runtime: str) -> FittedModel:
    """Load a fitted model onto the device and find its encoders' weights.

    Raises:
        DataError: no model there.
        IntegrityError: files that are not those that were written.
        MethodError: one of another version.
        ConfigurationError: encoder weights other than those that the model was fitted with.
    """
    record = read_fit(folder)
    _check_files(folder, record)
    method = load_method(folder)
    if method.genes != record.panel.genes:
        raise MethodError(
            f"Expected the panel of {folder / FIT} in its method, found other genes; fit the model again."
        )
    inputs = method.inputs(method.parameters)
    if inputs.labels:
        raise ConfigurationError(
            f"{record.method} reads a pathologist's labels, which a new slide does not have; fit another method."
        )
    device = resolve_device(device)
    encoders = {key: _find(known, weights, device, runtime) for key, known in record.encoders.items()}
    if record.sha256 and record.sha256 != record.digest():
        raise IntegrityError(
            f"Expected the record of a fit in {folder / FIT} as it was written, found another (sha256 differs); {_AGAIN}."
        )
    say_what_is_slow(encoders.values(), runtime)
    method.to(device)
    if runtime != "auto" and method.pooled and inputs.backbone is not None:  # else as it was fitted
        method.evaluate_in(choose_evaluation(runtime, device, card(inputs.backbone).precision))
    return FittedModel(record, method, inputs, encoders, hash_model(folder))


def check_place(to: Path) -> None:
    """Whether a model may be written there.

    Raises:
        ConfigurationError: other files are in the way.
    """
    if to.exists() and not (to / FIT).is_file() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigurationError(
            f"Expected a new folder, or an earlier model, at {to}, found other files; choose another --to."
        )


def write_model(to: Path, record: FitRecord, method: Method) -> None:
    """Write the folder aside and rename it; an earlier model of that name goes only when the new one is complete.

    Raises:
        QbenchError: the folder cannot be written.
    """
    try:
        with written_folder(to) as temporary:
            method.save(temporary)
            files = {path.name: plain_sha256(path) for path in sorted(temporary.iterdir()) if path.is_file()}
            record = record.model_copy(update={"files": files})
            record = record.model_copy(update={"sha256": record.digest()})
            write_text(temporary / FIT, record.model_dump_json(indent=1))
    except (OSError, RuntimeError) as error:
        raise unwritable(to, error) from error


def hash_model(folder: Path) -> str:
    """sha256 over the files of a model."""
    return canonical_hash({path.name: plain_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()})


def _find(known: Mapping[str, Any], weights: Mapping[str, Weights], device: str, runtime: str) -> EncoderSpec:
    name = str(known["encoder"])
    given: dict[str, Weights] = dict(weights)
    if known["weights"] == "random":
        given[name] = "random"
    spec = resolve(name, given, device, runtime)
    found = spec.identity()
    for key in ("weights", "version", "mean", "std"):
        if found[key] != known[key]:
            raise ConfigurationError(
                f"Expected encoder '{name}' with {key} {_short(known[key])}, as the model was fitted with, found "
                f"{_short(found[key])}; give the same weights with --encoder-weights {name}=FILE, or fit the model again."
            )
    return spec


def _short(value: Any) -> str:
    return str(value)[:12]

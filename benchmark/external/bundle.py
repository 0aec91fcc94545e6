"""A bundle: results of somebody's runs folder, packed for the open board, and what holds it together.

    FOLDER/bundle.json                          who ran them, what is in it, sha256 of every file
    FOLDER/<protocol>/<cell>/record.json, scores.parquet, and predictions.h5ad where predictions are given

A cell whose predictions are in its bundle is *verified*: every score and figure was computed again from them. One without is
*reported*: its scores are those that its record was made of, and nothing more is known. Neither says that the predictions were made as
the record says; `qbench reproduce` and the data do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from ...datasets import protocol as protocols
from ...datasets import registry as datasets
from ...errors import ConfigurationError, QbenchError
from ...files import regular_bytes
from ...leaderboard.record import Record, read_record
from ...text_files import read_text
from ...yaml_files import dotted, fault
from ..engine.verify import PREDICTIONS, Problem, Verification, check_cell

CONTENTS = "bundle.json"
RECORD, SCORES = "record.json", "scores.parquet"
LEFT_OUT = ("diagnostics.npz", PREDICTIONS)
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f|<>]*$")
]


class Bundle(BaseModel):
    """What a bundle says of itself.

    Attributes:
        by: who ran the cells, as the board shows it.
        on: the machine, as the board shows it.
        files: path below the bundle's folder -> sha256, of every file but this one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    by: Line
    on: Line
    qbench: Line
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    files: dict[str, str] = Field(min_length=1)

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            parts = PurePosixPath(name).parts
            if (
                len(parts) != 3
                or ".." in parts
                or name.startswith("/")
                or parts[2] not in {RECORD, SCORES, PREDICTIONS}
            ):
                raise ValueError(f"expected files <protocol>/<cell>/<file> of qbench, found {name!r}")
        return files


@dataclass(frozen=True)
class Submitted:
    """A cell of a bundle: `verified` where its predictions are beside it."""

    record: Record
    bundle: Bundle
    folder: Path
    verified: bool


def read_bundle(folder: Path) -> Bundle:
    """What a bundle says of itself.

    Raises:
        ConfigurationError: a folder that is none, or one of a later schema.
        DataError: a file that cannot be read.
    """
    path = folder / CONTENTS
    if not path.is_file():
        raise ConfigurationError(
            f"Expected a bundle with its {CONTENTS} in {folder}, found none; make one with: qbench submit."
        )
    content = read_text(path, "the contents of a bundle", "pack it again with: qbench submit")
    try:
        return Bundle.model_validate_json(content)
    except ValidationError as error:
        where, words = fault(error, Bundle)
        raise ConfigurationError(
            f"Expected the contents of a bundle in {path}, but {dotted(where)}: {words} Pack it again with: qbench submit."
        ) from error


def submitted(folder: Path) -> Iterator[Submitted]:
    """The cells of a bundle, by place; errors as in `read_bundle` and `read_record`."""
    bundle = read_bundle(folder)
    for name in sorted(bundle.files):
        place = folder / PurePosixPath(name).parent
        if name.endswith(f"/{RECORD}"):
            yield Submitted(read_record(folder / name), bundle, place, (place / PREDICTIONS).is_file())


def check_bundle(folder: Path) -> list[Problem]:
    """Every contradiction in a bundle: files, records, scores, and protocols that this qbench does not know.

    Raises:
        ConfigurationError, DataError: as `read_bundle`.
    """
    bundle = read_bundle(folder)
    found = []
    there = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    there.pop(CONTENTS, None)
    for name in sorted({*bundle.files, *there}):
        if name not in bundle.files:
            found.append(Problem(name, "it is not among the bundle's files; remove it, or pack the bundle again"))
        elif name not in there:
            found.append(Problem(name, "it is missing; pack the bundle again"))
        elif hashlib.sha256(regular_bytes(there[name])).hexdigest() != bundle.files[name]:
            found.append(Problem(name, "it is not the file that was packed (sha256 differs); pack the bundle again"))
    for name in sorted(bundle.files):
        if name.endswith(f"/{RECORD}") and name in there:
            cell = PurePosixPath(name).parent.as_posix()
            try:
                record = read_record(folder / name)
                messages = unfit(record) + check_cell(folder / cell, record, left_out=LEFT_OUT)
            except QbenchError as error:
                messages = [str(error)]
            found += [Problem(cell, message) for message in messages]
    return found


def verify_bundle(folder: Path) -> Verification:
    """What `qbench verify` says of a bundle; errors as in `read_bundle`."""
    cells = sum(name.endswith(f"/{RECORD}") for name in read_bundle(folder).files)
    return Verification(cells, 0, tuple(check_bundle(folder)))


def unfit(record: Record) -> list[str]:
    """A sentence where a record is no result, or of a dataset or a protocol that only its sender knows."""
    found = []
    if record.status != "done":
        found.append("the cell failed, which is no result")
    for dataset in filter(None, (record.protocol.dataset, record.protocol.test_dataset)):
        try:
            datasets.card(dataset)
        except QbenchError:
            found.append(
                f"nobody else knows the dataset '{dataset}'; submit results of datasets that 'qbench list datasets' names"
            )
    if record.protocol.name not in protocols.names() and record.protocol.test_dataset is None:
        found.append(
            f"nobody else knows the protocol '{record.protocol.name}'; submit results of protocols that 'qbench list protocols' names"
        )
    return found

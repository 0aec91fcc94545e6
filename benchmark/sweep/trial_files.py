"""What a trial leaves in the sweep's folder: its result and, an epoch a line, its history; both know when they are damaged."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ...datasets.hashing import canonical_hash
from ...errors import DataError, reading
from ...files import regular_bytes, write_text
from ...text_files import read_json
from .space import Settings

RESULT, HISTORY = "result.json", "history.jsonl"
_log = logging.getLogger("qbench")


class TrialResult(BaseModel):
    """How a trial ended. `finished` by itself, `stopped` by the scheduler, `failed` in the method.

    Attributes:
        validation_mse, validation_pcc: of unrounded predictions at the kept epoch; null where it failed.
        epochs: trained.
        best_epoch: of the kept state; null where the method has no epochs.
        seconds: inside `fit`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fold: str
    number: int
    settings: Settings
    status: Literal["finished", "stopped", "failed"]
    validation_mse: float | None = None
    validation_pcc: float | None = None
    epochs: int = 0
    best_epoch: int | None = None
    seconds: float = 0.0
    message: str | None = None

    def figure(self, select: str) -> float | None:
        """What selection minimises."""
        value = self.validation_mse if select == "mse" else self.validation_pcc
        return None if value is None else value if select == "mse" else -value


def read_result(folder: Path) -> TrialResult | None:
    """The result of a trial that has ended; one that is not as it was written is removed, with a note, and counts as none."""
    path, what, remedy = folder / RESULT, "the result of a trial", "the trial is run again"
    if not path.exists():
        return None
    try:
        with reading(what, path, remedy):
            values = read_json(path, what, remedy)
            digest = values.pop("sha256", None)  # absent in one of an older qbench
            if digest not in (None, canonical_hash(values)):
                raise ValueError("it is not the one that was written (sha256 differs)")
            return TrialResult.model_validate(values)
    except DataError as error:
        _log.warning("%s", error)
        path.unlink(missing_ok=True)
        return None


def write_result(folder: Path, result: TrialResult) -> None:
    """Keep a trial's result; what only helped to go on is removed."""
    values = result.model_dump(mode="json")
    write_text(folder / RESULT, json.dumps({**values, "sha256": canonical_hash(values)}, indent=1))
    for left in (folder / "work").glob("*"):
        left.unlink()


def read_history(folder: Path) -> list[dict[str, float]]:
    """What the trial reported, an entry an epoch; what follows a line that a kill cut short or that was damaged is dropped."""
    path = folder / HISTORY
    if not path.exists():
        return []
    found: list[dict[str, float]] = []
    for line in regular_bytes(path).splitlines():
        text, _, digest = line.partition(b"\t")
        try:
            if digest and int(digest, 16) != zlib.crc32(text):
                break
            entry = json.loads(text)
            following = entry["epoch"] == len(found) + 1
        except (ValueError, KeyError, TypeError, RecursionError):
            break
        if following:
            found.append(entry)
    return found


def write_history(folder: Path, history: list[dict[str, float]]) -> None:
    """Write all epochs of a trial at once, a JSON object a line, with its checksum."""
    write_text(folder / HISTORY, "".join(map(_line, history)))


def append_history(folder: Path, entry: Mapping[str, float]) -> None:
    """Add an epoch to a running trial's file, so that a stopped one still tells its best epoch."""
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(_line(entry))


def _line(entry: Mapping[str, float]) -> str:
    text = json.dumps(dict(entry))
    return f"{text}\t{zlib.crc32(text.encode()):08x}\n"

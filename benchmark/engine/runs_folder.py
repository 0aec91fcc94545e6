"""What a runs folder holds of the cells of a plan; its records are read when they are asked for, and once each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...datasets.protocol import Protocol
from ...errors import QbenchError
from ...leaderboard.record import Record, read_record
from .task import CellTask


class _Kind(NamedTuple):
    """What two cells share where one may stand in for the other, but for what decides their numbers."""

    method: str
    fold: str
    tuned: bool
    images: bool
    encoder: str | None = None


class RunsFolder:
    """The records below a runs folder, `<protocol>/<cell>/record.json`, as one protocol's cells see them, when first asked for."""

    def __init__(self, runs: Path, protocol: Protocol) -> None:
        self._runs = runs
        self._protocol = protocol.folder
        self._read: dict[Path, Record] = {}
        self._places: dict[tuple[str, str], list[Path]] | None = None
        self._newest: dict[tuple[str, str], dict[_Kind, Record]] = {}

    def of(self, task: CellTask) -> Record | None:
        """The record in the cell's own folder, whatever cell it says it is of.

        Raises:
            QbenchError: it is damaged.
        """
        path = self._runs / self._protocol / task.name / "record.json"
        return self._record(path) if path.is_file() else None

    def newest_like(self, task: CellTask) -> Record | None:
        """The last one of the same method, fold and seed, whatever else decides its number.

        Of a run of several encoders the last one with the same. Other sections, patients, data or rules have a folder of
        their own, so those of the same name are looked through too.
        """
        place = (_without_hash(self._protocol), task.start)
        if place not in self._newest:
            newest: dict[_Kind, Record] = {}
            for path in self._listed().get(place, ()):
                try:
                    record = self._record(path)
                except QbenchError:  # damaged: said of the cell whose folder it is, and no reason for another
                    continue
                kind = _Kind(record.method.label, record.fold.name, record.tuned is not None, record.protocol.images)
                for some in (kind, kind._replace(encoder=None if record.encoder is None else record.encoder.name)):
                    if some not in newest or record.started > newest[some].started:
                        newest[some] = record
            self._newest[place] = newest
        kind = _Kind(task.method, task.fold.name, task.tuned is not None, task.protocol.images, task.encoder)
        return self._newest[place].get(kind)

    def _record(self, path: Path) -> Record:
        if path not in self._read:
            self._read[path] = read_record(path)
        return self._read[path]

    def _listed(self) -> dict[tuple[str, str], list[Path]]:
        """The records' paths by protocol and cell, both as their folders begin; nothing is read for it."""
        if self._places is None:
            self._places = {}
            for path in sorted(self._runs.glob("*/*/record.json")):
                cell = path.parent
                if not cell.name.startswith("."):  # one that is being written
                    place = (_without_hash(cell.parent.name), _without_hash(cell.name))
                    self._places.setdefault(place, []).append(path)
        return self._places


def _without_hash(folder: str) -> str:
    return folder.rpartition("-")[0]

"""A sweep as an object: its options, what was chosen, and where its time went."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, fields
from pathlib import Path

from ...errors import DataError, reading
from ...files import write_text
from ...leaderboard.record import Record
from ...methods.registry import MethodSpec
from ...text_files import read_json
from ..settings import RunSettings
from .settings import SweepSettings
from .space import Settings, Space
from .trial_files import TrialResult


@dataclass(frozen=True)
class Drawn:
    """Points that were drawn elsewhere, the space that holds them, and what their sweep's folder is called after."""

    name: str
    space: Space
    points: list[Settings]


@dataclass
class Times:
    """Seconds on the clock, of one search or summed over all commands that worked on a sweep.

    Attributes:
        ray: until Ray was up.
        start: from then until the first trial trained.
        search: from then on.
        training: inside `fit`, summed over trials.
        capacity: workers x `search`, what trials could use.
    """

    ray: float = 0.0
    start: float = 0.0
    search: float = 0.0
    training: float = 0.0
    capacity: float = 0.0

    def __add__(self, other: Times) -> Times:
        return Times(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def share(self) -> float | None:
        """Share of the workers' time, once trials run, that was spent in `fit`."""
        return self.training / self.capacity if self.capacity else None


@dataclass
class Sweep:
    """A sweep with everything that its report needs."""

    folder: Path
    base: MethodSpec
    space: Space
    options: RunSettings
    sweep: SweepSettings
    key: str
    folds: tuple[str, ...]
    points: list[Settings]
    results: list[TrialResult]
    chosen: dict[str, TrialResult] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)  # of the records, by their cells
    times: Times = field(default_factory=Times)


def read_times(folder: Path) -> Times:
    """The times that earlier calls of this sweep have left in its folder, zeros at first."""
    path = folder / "times.json"
    if not path.exists():
        return Times()
    what, remedy = "the times of a sweep", "they are counted anew"
    try:
        with reading(what, path, remedy):
            return Times(**{name: float(value) for name, value in read_json(path, what, remedy).items()})
    except DataError as error:  # no number depends on them
        logging.getLogger("qbench").warning("%s", error)
        return Times()


def write_times(folder: Path, times: Times) -> None:
    """Keep the times as `times.json`, from which the next call goes on."""
    write_text(folder / "times.json", json.dumps(vars(times), indent=1))

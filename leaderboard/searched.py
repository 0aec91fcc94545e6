"""What searches of readings and ablations in a runs folder found (`qbench ablate`), as the page shows it beside their table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import DataError, QbenchError
from ..text_files import read_json
from ..yaml_files import dotted, fault
from .table import Table

Found = dict[tuple[str, str], list[dict[str, Any]]]  # of a table, by protocol hash and track


class _Part(BaseModel):
    """A part of a report, of which the page reads what it shows."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Place(_Part):
    protocol_hash: str
    track: str


class _Board(_Part):
    tables: tuple[_Place, ...] = Field(min_length=1)


class _Judged(_Part):
    number: int
    method: str
    excess: float | None = Field(allow_inf_nan=False)


class _Effect(_Part):
    point: str
    reading: str
    own: bool
    n: int
    failed: int
    median: float | None = Field(allow_inf_nan=False)


class _Count(_Part):
    text: str
    held: int
    measured: int
    patients: dict[str, int]


class _Report(_Part):
    leaderboard: _Board


class _Readings(_Report):
    method: str
    combinations: int
    select: Literal["mse", "pcc"]
    chosen: int
    judged: tuple[_Judged, ...] = Field(min_length=1)
    effects: tuple[_Effect, ...]
    claims: tuple[_Count, ...]


class _Measured(_Part):
    mean: float | None = Field(allow_inf_nan=False)


class _Row(_Part):
    label: str
    method: str
    measured: dict[str, _Measured]
    reported: dict[str, tuple[float, float | None] | None]


class _Verdict(_Part):
    text: str
    gap: float | None = Field(allow_inf_nan=False)


class _Block(_Part):
    title: str
    rows: tuple[_Row, ...]
    verdicts: tuple[_Verdict, ...]


class _Ablation(_Report):
    note: str
    blocks: tuple[_Block, ...]


def read_searched(runs: Path, damaged: Callable[[str], None] | None = None) -> Found:
    """Readings and ablations of a runs folder, by the table (protocol hash, track) that their cells stand in.

    Raises:
        DataError: a report that cannot be read or is none; with `damaged` that is told of it, and the rest goes on.
    """
    found: Found = defaultdict(list)
    for pattern, kind, model in (
        ("sweeps/*/readings.json", "readings", _Readings),
        ("ablations/*/ablation.json", "ablation", _Ablation),
    ):
        for path in sorted(runs.glob(pattern)):
            try:
                report = _read(path, model)
            except QbenchError as error:
                if damaged is None:
                    raise
                damaged(str(error))
                continue
            place = report.leaderboard.tables[0]
            shown = report.model_dump(mode="json", exclude={"leaderboard"})
            found[place.protocol_hash, place.track].append({"kind": kind, "folder": path.parent.name, **shown})
    return dict(found)


def without_table(found: Mapping[tuple[str, str], list[dict[str, Any]]], tables: Iterable[Table]) -> list[str]:
    """A sentence for each report whose table is not among these."""
    known = {(table.protocol.hash, table.track) for table in tables}
    return [
        f"{report['folder']}: not on the page, which has no table of its protocol ({place[0][:8]}, {place[1]})."
        for place, reports in found.items()
        if place not in known
        for report in reports
    ]


def _read(path: Path, model: type[_Report]) -> _Report:
    what, remedy = "a report of 'qbench ablate'", "run the same command again, which writes it anew"
    try:
        return model.model_validate(read_json(path, what, remedy))
    except ValidationError as error:
        where, words = fault(error, model)
        raise DataError(
            f"Expected {what} in {path}, but {dotted(where)}: {words} {remedy[0].upper()}{remedy[1:]}."
        ) from error

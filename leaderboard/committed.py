"""The committed board: records without their predictions, and a digest of each, so that no number of one changes unseen.

    FOLDER/<protocol>/<fold>.jsonl    a line a record, in the order of their folders in the runs folder
    FOLDER/digests.txt                a line a record, sha256 and cell, by cell

A digest covers everything that its record says, names and values, however the line is laid out. Whoever changes a record
must make the board again (`.ci/board`); what only looks like a record of today is told by `benchmark.engine.freshness`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, IntegrityError
from ..files import write_text, written_folder
from ..names import path_part
from .record import Record, find_records, parse_record

DIGESTS = "digests.txt"
AGAIN = "make the board again with 'bash .ci/board HER2ST_DIR' (docs/reading-the-leaderboard.md)"


def read_committed(folder: Path) -> list[Record]:
    """All committed records, by protocol, fold and place.

    Raises:
        ConfigurationError: a line that is no record.
    """
    return [parse_record(line, place, f"Undo the edit, or {AGAIN}.") for place, line in _lines(folder)]


def digest(record: dict[str, Any]) -> str:
    """sha256 of a record's JSON: keys sorted, no spaces, numbers as their shortest form."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def changed(folder: Path) -> list[str]:
    """A sentence for each record that is not the one that its digest was made of; empty where all hold."""
    listed = dict(_listed(folder))
    found = [(place, json.loads(line)) for place, line in _lines(folder)]
    cells = Counter(str(record.get("cell")) for _, record in found)
    out = [f"{cell}: {n} records of one cell; {AGAIN}" for cell, n in cells.items() if n > 1]
    for place, record in found:
        due = listed.get(str(record.get("cell")))
        if due is None:
            out.append(f"{place}: no digest of its cell; {AGAIN}")
        elif due != digest(record):
            out.append(f"{place}: not the record that its digest was made of; undo the edit, or {AGAIN}")
    return out + [f"{cell}: a digest without its record; {AGAIN}" for cell in listed if cell not in cells]


def commit(runs: Path, folder: Path) -> int:
    """Replace the committed records by those of a runs folder; returns their number.

    Raises:
        ConfigurationError: a runs folder without records.
        IntegrityError: a failed cell, which is no result.
    """
    found = find_records(runs)
    if not found:
        raise ConfigurationError(f"Expected records in {runs}, found none; name the runs folder of the board.")
    failed = [record.cell[:12] for _, record in found if record.status != "done"]
    if failed:
        raise IntegrityError(f"Expected finished cells only, found failed ones ({', '.join(failed)}); run them again.")
    files: dict[Path, list[str]] = defaultdict(list)
    for place, record in found:
        raw = json.loads((place / "record.json").read_bytes())
        raw["hashes"].pop("record", None)  # of another layout; its digest stands in its place
        line = json.dumps(raw, separators=(",", ":"))
        files[Path(place.parent.name) / f"{path_part(record.fold.name)}.jsonl"].append(line)
    with written_folder(folder) as new:
        for path, lines in files.items():
            write_text(new / path, "".join(f"{line}\n" for line in lines))
        stamp(new)
    return len(found)


def stamp(folder: Path) -> None:
    """Write the digests of the records as they are."""
    records = [json.loads(line) for _, line in _lines(folder)]
    lines = [f"{digest(record)}  {record['cell']}\n" for record in sorted(records, key=lambda record: record["cell"])]
    write_text(folder / DIGESTS, "".join(lines))


def _lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Each record's line with its place, `protocol/fold.jsonl:3`."""
    for path in sorted(folder.glob("*/*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield f"{path.relative_to(folder).as_posix()}:{number}", line


def _listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Cell and digest of each line."""
    path = folder / DIGESTS
    if not path.is_file():
        return
    for line in path.read_text(encoding="ascii").splitlines():
        value, cell = line.split()
        yield cell, value

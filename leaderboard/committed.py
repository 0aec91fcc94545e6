"""The committed board: records without their predictions, and a digest of each, so that no number of one changes unseen.

    FOLDER/<protocol>/<cell>/record.json    FOLDER/digests.txt: a line a record, sha256 and cell, by cell

A digest covers everything that its record says, names and values, however the file is laid out. Whoever changes a record
must make the board again (`.ci/board`); what only looks like a record of today is told by `benchmark.freshness`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, IntegrityError
from .record import Record, find_records, read_record

DIGESTS = "digests.txt"
AGAIN = "make the board again with 'bash .ci/board HER2ST_DIR' (docs/reading-the-leaderboard.md)"


def read_committed(folder: Path) -> list[Record]:
    """All committed records, in the order of their places.

    Raises:
        ConfigurationError: a file that is no record.
    """
    return [read_record(path) for path in _paths(folder)]


def digest(record: dict[str, Any]) -> str:
    """sha256 of a record's JSON: keys sorted, no spaces, numbers as their shortest form."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def changed(folder: Path) -> list[str]:
    """A sentence for each record that is not the one that its digest was made of; empty where all hold."""
    listed = dict(_listed(folder))
    found = [(path.parent.relative_to(folder).as_posix(), json.loads(path.read_bytes())) for path in _paths(folder)]
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
        ConfigurationError: a runs folder without records. IntegrityError: a failed cell, which is no result.
    """
    found = find_records(runs)
    if not found:
        raise ConfigurationError(f"Expected records in {runs}, found none; name the runs folder of the board.")
    failed = [record.cell[:12] for _, record in found if record.status != "done"]
    if failed:
        raise IntegrityError(f"Expected finished cells only, found failed ones ({', '.join(failed)}); run them again.")
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(new, ignore_errors=True)
    for place, _ in found:
        kept = new / place.relative_to(runs)
        kept.mkdir(parents=True)
        shutil.copyfile(place / "record.json", kept / "record.json")
    stamp(new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return len(found)


def stamp(folder: Path) -> None:
    """Write the digests of the records as they are."""
    records = [json.loads(path.read_bytes()) for path in _paths(folder)]
    lines = [f"{digest(record)}  {record['cell']}\n" for record in sorted(records, key=lambda record: record["cell"])]
    temporary = folder / f".{DIGESTS}.{os.getpid()}.tmp"
    temporary.write_text("".join(lines), encoding="ascii")
    temporary.rename(folder / DIGESTS)


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/record.json"))


def _listed(folder: Path) -> Iterator[tuple[str, str]]:
    """Cell and digest of each line."""
    path = folder / DIGESTS
    if not path.is_file():
        return
    for line in path.read_text(encoding="ascii").splitlines():
        value, cell = line.split()
        yield cell, value

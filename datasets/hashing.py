"""Hashes of files, remembered while a file stays as it is, and of JSON-able values."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_text

_SETTLED_NS = 2_000_000_000  # a file this fresh may change again within one tick of its time stamp


def canonical_hash(value: Any) -> str:
    """sha256 (hex) of a JSON-able value; the order of keys does not matter.

    Raises:
        ValueError: a number that JSON cannot write (NaN, infinity).
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes, always read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path, cache_root: Path) -> str:
    """sha256 (hex) of a file, read once per (path, size, mtime, inode) and remembered below `cache_root`.

    Any number of processes may call it at once: each memory is one small file, replaced whole.

    Raises:
        DataError: the file is missing or cannot be read, or changed while it was read.
    """
    path = path.absolute()
    try:
        with path.open("rb") as file:
            before = _state(file.fileno())
            memory = cache_root / ".hashes" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"
            known = _recall(memory)
            if known is not None and known.get("state") == [str(path), *before]:
                return str(known["sha256"])
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = _state(file.fileno())
    except OSError as error:
        raise DataError(
            f"Expected a readable file {path}, but {error.strerror or error}; check the data folder."
        ) from error
    if after != before:
        raise DataError(f"{path} changed while it was being read; wait until it is complete and run again.")
    if time.time_ns() - before[1] > _SETTLED_NS:
        _remember(memory, {"state": [str(path), *before], "sha256": digest})
    return digest


def _state(handle: int) -> list[int]:
    stat = os.fstat(handle)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _recall(memory: Path) -> dict[str, Any] | None:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None  # nothing remembered, or nothing usable: the file is hashed again
    return known if isinstance(known, dict) and isinstance(known.get("sha256"), str) else None


def _remember(memory: Path, known: dict[str, Any]) -> None:
    try:
        write_text(memory, json.dumps(known))
    except OSError:
        return  # a memory that cannot be kept costs time, not correctness

"""Hashes of files, remembered while a file stays as it is, and of JSON-able values."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def remembered_sha256(folder: Path, cache_root: Path) -> Iterator[Callable[[Path], str]]:
    """Gives the sha256 of files below a folder, each read once per (path, size, mtime, inode) and remembered together.

    A board has thousands of small files: one memory for all of them is read and written faster than one for each.
    What is asked for inside the block is remembered below `cache_root` when the block is over.
    """
    folder = folder.absolute()
    memory = cache_root / ".hashes" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}-below.json"
    known: dict[str, Any] = _recall_all(memory)
    kept: dict[str, Any] = {}

    def sha256(path: Path) -> str:
        name = os.path.relpath(path.absolute(), folder)
        with path.open("rb") as file:
            before = _state(file.fileno())
            found = known.get(name)
            if isinstance(found, list) and found[:-1] == before:
                digest = str(found[-1])
            else:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if _state(file.fileno()) == before and time.time_ns() - before[1] > _SETTLED_NS:
                kept[name] = [*before, digest]
        return digest

    try:
        yield sha256
    finally:
        if any(known.get(name) != state for name, state in kept.items()):
            files = {name: state for name, state in known.items() if (folder / name).exists()} | kept
            _remember(memory, {"files": files, "sha256": canonical_hash(files)})


def _recall_all(memory: Path) -> dict[str, Any]:
    """The files of a memory, by name; nothing of one that is not as it was written."""
    known = _recall(memory) or {}
    files = known.get("files")
    try:
        return files if isinstance(files, dict) and canonical_hash(files) == known["sha256"] else {}
    except ValueError:  # a number that JSON cannot write, so that nobody wrote it
        return {}


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

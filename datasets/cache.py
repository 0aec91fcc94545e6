"""A cache of arrays and files keyed by content: built once under a lock, written aside and renamed, memory-mapped.

Layout: `<root>/<kind>/<key>/header.json` beside the entry's `.npy` arrays and files. An entry exists only once its
folder has been renamed to its key, after everything in it reached the disk, so a process killed at any moment leaves
no entry that is later believed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DataError
from ..files import remove_folder, written_folder
from .cache_root import default_root
from .entry import HEADER, Damaged, Entry, EntryWriter, OtherLayout, check_entry, open_entry, seal_entry

_log = logging.getLogger("qbench")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}


@dataclass(frozen=True)
class EntryInfo:
    """An entry as listed: bytes, last use (seconds since 1970, to a day) and what is wrong with it, if anything."""

    kind: str
    key: str
    size: int
    used: float
    problem: str | None


@dataclass(frozen=True)
class Collected:
    """What `gc` removed: entries, leftovers of builds that died, and their bytes."""

    entries: tuple[EntryInfo, ...]
    leftovers: int
    size: int


@functools.cache  # a new version of qbench finds every entry so: said once a process
def _note_layout(root: Path, found: str) -> None:
    _log.warning("Entries of an older cache in %s (%s) are rebuilt as they are needed.", root, found)


class ArrayCache:
    """A folder of entries; any number of processes may use it at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).expanduser().absolute()

    def get(self, kind: str, key: str, build: Callable[[EntryWriter], None], checked: bool = True) -> Entry:
        """Open the entry `kind/key`, or build it first.

        `build` fills what it asks of its `EntryWriter`. It runs in one process at a time per key; the others wait and
        open what it built. An entry that is truncated, damaged, foreign or of an older version is built anew, with a warning.
        Every byte is held to its checksum when a process first opens it, unless `checked` is False, for what will not be read.

        Raises:
            DataError: the disk is full, or the folder cannot be written. Nothing half-written stays.
        """
        for name in (kind, key):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot name a cache entry")
        folder = self.root / kind / key
        with self._explained():
            return self._open(folder, checked) or self._build(folder, build, checked)

    def _build(self, folder: Path, build: Callable[[EntryWriter], None], checked: bool) -> Entry:
        kind, key = folder.parent.name, folder.name
        with self._lock(kind, key):
            if (entry := self._open(folder, checked, warn=True)) is not None:
                return entry  # another process built it while this one waited
            for left in self._leftovers(kind, key):
                shutil.rmtree(left)
            with written_folder(folder) as temporary:
                writer = EntryWriter(temporary)
                build(writer)
                seal_entry(writer, kind, key)
            return open_entry(folder, kind, key)

    def entries(self) -> list[EntryInfo]:
        """All entries, by kind and key, checked as far as opening them does (header, sizes, times)."""
        return [self._info(folder, contents=False) for folder in self._folders()]

    def verify(self) -> list[EntryInfo]:
        """All entries with every byte hashed; `problem` names the first fault of each that is damaged."""
        return [self._info(folder, contents=True) for folder in self._folders()]

    def remove(self, kind: str, key: str) -> None:
        """Remove an entry; processes that have it open keep their view of it."""
        with self._explained(), self._lock(kind, key):
            remove_folder(self.root / kind / key)

    def gc(self, max_bytes: int | None = None) -> Collected:
        """Remove what dead builds left and unusable entries; then, above `max_bytes`, the longest unused ones."""
        size = 0
        leftovers = 0
        for left in sorted(self.root.glob("*/.*.tmp")):
            with (
                contextlib.suppress(Timeout),
                self._lock(left.parent.name, left.name[1:].rsplit(".", 2)[0], wait=False),
            ):
                size += _size(left)  # the lock was free, so nobody is building this
                shutil.rmtree(left)
                leftovers += 1
        found = sorted(self.entries(), key=lambda info: info.used)
        doomed = [info for info in found if info.problem]
        if max_bytes is not None:
            kept = sum(info.size for info in found if not info.problem)
            for info in found:
                if kept > max_bytes and not info.problem:
                    doomed.append(info)
                    kept -= info.size
        for info in doomed:
            self.remove(info.kind, info.key)
        return Collected(tuple(doomed), leftovers, size + sum(info.size for info in doomed))

    def _open(self, folder: Path, checked: bool, warn: bool = False) -> Entry | None:
        try:
            return open_entry(folder, folder.parent.name, folder.name, checked)
        except FileNotFoundError:
            return None
        except OtherLayout as other:
            if warn:
                _note_layout(self.root, str(other))
            return None
        except Damaged as damage:
            if warn:
                _log.warning("Cache entry %s/%s is rebuilt: %s.", folder.parent.name, folder.name, damage)
            return None

    def _info(self, folder: Path, contents: bool) -> EntryInfo:
        problem = None
        try:
            check_entry(folder, folder.parent.name, folder.name, contents)
        except (Damaged, FileNotFoundError) as damage:
            problem = str(damage)
        header = folder / HEADER
        used = header.stat().st_mtime if header.exists() else 0.0
        return EntryInfo(folder.parent.name, folder.name, _size(folder), used, problem)

    def _folders(self) -> list[Path]:
        return sorted(p.parent for p in self.root.glob(f"*/*/{HEADER}") if not p.parent.name.startswith("."))

    def _leftovers(self, kind: str, key: str) -> list[Path]:
        return [p for p in (self.root / kind).glob(f".{key}.*.tmp") if p.name[1:].rsplit(".", 2)[0] == key]

    @contextlib.contextmanager
    def _lock(self, kind: str, key: str, wait: bool = True) -> Iterator[None]:
        path = self.root / ".locks" / f"{kind}.{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            _log.info("Waiting for another process that builds %s/%s.", kind, key)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise DataError(
                    f"Expected room for a cache entry in {self.root}, but the disk is full; free some space "
                    "(`qbench cache gc`) or set QBENCH_CACHE to a folder on another disk."
                ) from error
            if error.errno in _CLOSED and str(error.filename or "").startswith(str(self.root)):
                raise DataError(
                    f"Expected a folder that can be written at {self.root}, but {error.strerror}: {error.filename}; "
                    "set QBENCH_CACHE to another folder."
                ) from error
            raise


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

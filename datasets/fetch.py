"""Fetch a dataset's public files into a folder: what is complete is left alone, checksums are recorded and held."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, IntegrityError, QbenchError, unknown
from .card_parts import ArchiveSource, RepositorySource
from .download import Expected, Progress, check, download
from .hashing import plain_sha256
from .registry import DatasetCard
from .unpack import unpack

RECORD = "qbench-fetched.json"  # size and sha256 of every file that was fetched into the folder
_ARCHIVES = ".archives"


@dataclass
class Fetched:
    """What a fetch did: files that came new, files that were there already, and what to tell the user."""

    source: str
    new: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fetch(
    card: DatasetCard,
    to: Path,
    source: str | None = None,
    passwords: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch the files of a dataset into `to`.

    Args:
        source: a name of `card.sources`; the first by default. passwords: of encrypted archives, by the card's names.

    Raises:
        ConfigurationError: nothing to fetch from, or an unknown source.
        DataError: no network, a wrong password, no room. IntegrityError: a checksum that does not hold, a malicious
            archive.
    """
    if not card.sources:
        raise ConfigurationError(
            f"Dataset {card.name} names no public source to fetch from; give its folder with --data-dir."
        )
    name = source or next(iter(card.sources))
    if name not in card.sources:
        raise unknown(f"source of {card.name}", name, card.sources)
    chosen = card.sources[name]
    record = _Record(to)
    out = Fetched(name)
    if record.complete == name and not record.missing():
        record.hold()
        out.kept = sorted(record.files)
        out.notes.append(f"{to} is complete ({len(out.kept)} files), and every file has its recorded checksum.")
        return out
    to.mkdir(parents=True, exist_ok=True)
    before = set(record.files)
    try:
        if isinstance(chosen, RepositorySource):
            _from_repository(chosen, to, record, out, progress)
        else:
            _from_archives(chosen, to, record, out, passwords or {}, progress)
    except QbenchError:
        with contextlib.suppress(OSError):
            to.rmdir()  # empty: nothing came, so nothing is left behind
        raise
    record.complete = name
    record.write()
    first = [path for path in out.new if path not in before]
    if first:
        known = "git's hash of each file was checked; " if isinstance(chosen, RepositorySource) else ""
        out.notes.append(
            f"{known}the sha256 of {len(first)} files could not be known beforehand: recorded in {RECORD} now, and "
            "held from now on."
        )
    return out


def verify_fetched(folder: Path) -> list[str]:
    """Hold a folder against the record of its fetch; the files that were checked, none if it was not fetched.

    Raises:
        IntegrityError: a file that is missing or changed.
    """
    record = _Record(folder)
    record.hold()
    return sorted(record.files)


def _from_repository(
    source: RepositorySource, to: Path, record: _Record, out: Fetched, progress: Progress | None
) -> None:
    tree = _listing(source, to)
    wanted = {
        entry["path"].removeprefix(source.folder): entry
        for entry in tree
        if entry["path"].startswith(source.folder)
        and any(fnmatch.fnmatchcase(entry["path"].removeprefix(source.folder), pattern) for pattern in source.include)
    }
    if not wanted:
        raise DataError(
            f"Expected files like {', '.join(source.include)} in {source.listing}, found none; the card may be out "
            "of date."
        )
    for done, (path, entry) in enumerate(sorted(wanted.items())):
        if progress is not None:
            progress("files", done, len(wanted))
        target = to / path
        if ".." in Path(path).parts or not target.resolve().is_relative_to(to.resolve()):
            raise IntegrityError(
                f"{source.listing} lists {path!r}, which would be written outside {to}; do not use this source."
            )
        url = f"{source.raw.rstrip('/')}/{entry['path']}"
        expected = Expected(size=entry["size"], git_blob=entry["sha"], sha256=record.sha256(path))
        if target.is_file():
            record.add(path, target, _held(target, url, expected))
            out.kept.append(path)
            continue
        record.add(path, target, download(url, target, expected, progress))
        record.write()  # a kill now must not lose what holds the file from here on
        out.new.append(path)
    if progress is not None:
        progress("files", len(wanted), len(wanted))


def _held(target: Path, url: str, expected: Expected) -> str:
    try:
        return check(target, url, expected)
    except IntegrityError as error:
        raise IntegrityError(
            f"{target} is there already but is not the published file: {error} Move it away first."
        ) from error


def _listing(source: RepositorySource, to: Path) -> list[dict[str, Any]]:
    """The files of the commit's tree: path, size and sha1 of the git blob."""
    path = to / ".listing.json"
    try:
        download(source.listing, path, Expected())
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("truncated"):
            raise ValueError("the list was cut short by the server")
        return [
            {"path": str(entry["path"]), "size": int(entry["size"]), "sha": str(entry["sha"])}
            for entry in found["tree"]
            if entry["type"] == "blob"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"Expected the tree of a git commit as JSON from {source.listing}, but {error}; try again later."
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _from_archives(
    source: ArchiveSource,
    to: Path,
    record: _Record,
    out: Fetched,
    passwords: Mapping[str, str],
    progress: Progress | None,
) -> None:
    lacking = sorted({a.password for a in source.archives if a.password and a.password not in passwords})
    if lacking:
        raise ConfigurationError(
            f"The archives are encrypted: give --password {' --password '.join(f'{name}=...' for name in lacking)}"
            f"{'; ' + source.passwords if source.passwords else ''}."
        )
    store = to / _ARCHIVES
    for archive in source.archives:
        path = store / archive.name
        recorded = record.sha256(f"{_ARCHIVES}/{archive.name}")
        expected = Expected(sha256=archive.sha256 or recorded)
        if path.is_file():
            digest = _held(path, archive.url, expected)
        else:
            digest = download(archive.url, path, expected, progress)
        record.archives[archive.name] = digest
        record.write()
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=to) as inner:
            folder = Path(inner)
            password = passwords.get(archive.password) if archive.password else None
            for member in unpack(path, folder, archive.place, password, source.passwords):
                name = member.as_posix()
                digest = plain_sha256(folder / member)
                target = to / member
                if target.is_file():
                    if plain_sha256(target) != digest:
                        raise IntegrityError(
                            f"{target} is there already but is not the one in {archive.name}; move it away first."
                        )
                    out.kept.append(name)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    (folder / member).replace(target)
                    out.new.append(name)
                record.add(name, target, digest)
    shutil.rmtree(store)


class _Record:
    """The checksums of a folder's fetched files, kept beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, dict[str, Any]] = {}
        self.archives: dict[str, str] = {}
        self.complete: str | None = None
        path = folder / RECORD
        if path.is_file():
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                self.files, self.archives, self.complete = (
                    dict(found["files"]),
                    dict(found["archives"]),
                    found["complete"],
                )
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"Expected the checksums of a fetch in {path}, but {error}; remove that file and fetch again."
                ) from error

    def sha256(self, path: str) -> str | None:
        if path.startswith(f"{_ARCHIVES}/"):
            return self.archives.get(path.removeprefix(f"{_ARCHIVES}/"))
        return self.files[path]["sha256"] if path in self.files else None

    def add(self, path: str, target: Path, sha256: str) -> None:
        self.files[path] = {"size": target.stat().st_size, "sha256": sha256}

    def missing(self) -> list[str]:
        """Recorded files that are gone."""
        return [path for path in self.files if not (self._folder / path).is_file()]

    def hold(self) -> None:
        """Hash every recorded file.

        Raises:
            IntegrityError: names the first that is missing or changed.
        """
        for path, known in sorted(self.files.items()):
            target = self._folder / path
            if not target.is_file():
                raise IntegrityError(f"{target} was fetched but is gone; run 'qbench data fetch' again.")
            if target.stat().st_size != known["size"] or plain_sha256(target) != known["sha256"]:
                raise IntegrityError(
                    f"Expected {target} with the sha256 recorded when it was fetched, found other bytes; remove it and "
                    f"{RECORD}, and fetch it again."
                )

    def write(self) -> None:
        values = {"files": dict(sorted(self.files.items())), "archives": self.archives, "complete": self.complete}
        temporary = self._folder / f".{RECORD}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._folder / RECORD)

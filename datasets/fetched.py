"""What was fetched into a folder: checksums of every file, recorded at the first fetch and held from then on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import IntegrityError, reading
from ..files import plain_sha256, write_text
from ..text_files import read_json
from .download import Expected, check

RECORD = "qbench-fetched.json"  # size and sha256 of every file that was fetched into the folder
ARCHIVES = ".archives"  # where archives lie until all of them are unpacked


@dataclass
class Fetched:
    """What a fetch did: files that came new, files that were there already, and what to tell the user."""

    source: str
    new: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class FetchRecord:
    """The checksums of a folder's fetched files, kept beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, dict[str, Any]] = {}
        self.archives: dict[str, str] = {}
        self.complete: str | None = None
        path = folder / RECORD
        if path.is_file():
            what, remedy = "the checksums of a fetch", "remove that file and fetch again"
            with reading(what, path, remedy):
                found = read_json(path, what, remedy)
                self.files = {
                    name: {"size": int(known["size"]), "sha256": str(known["sha256"])}
                    for name, known in found["files"].items()
                }
                self.archives, self.complete = dict(found["archives"]), found["complete"]

    def sha256(self, path: str) -> str | None:
        """The recorded sha256 of a file, or of an archive named below the archives' folder; None if not fetched yet."""
        if path.startswith(f"{ARCHIVES}/"):
            return self.archives.get(path.removeprefix(f"{ARCHIVES}/"))
        return self.files[path]["sha256"] if path in self.files else None

    def add(self, path: str, target: Path, sha256: str) -> None:
        """Record a fetched file: its size now, and the sha256 that was computed while it came."""
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
        """Write the record beside the files, whole or not at all."""
        values = {"files": dict(sorted(self.files.items())), "archives": self.archives, "complete": self.complete}
        write_text(self._folder / RECORD, json.dumps(values, indent=1))


def held(target: Path, url: str, expected: Expected) -> str:
    """sha256 of a file that is there already.

    Raises:
        IntegrityError: it is not the published one.
    """
    try:
        return check(target, url, expected)
    except IntegrityError as error:
        raise IntegrityError(
            f"{target} is there already but is not the published file: {error} Move it away first."
        ) from error

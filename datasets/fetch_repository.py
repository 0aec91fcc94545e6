"""Fetch the files of a public git repository at one commit."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

from ..errors import DataError, IntegrityError
from .download import Expected, Progress, download
from .fetched import Fetched, FetchRecord, held
from .sources import RepositorySource


def fetch_repository(
    source: RepositorySource, to: Path, record: FetchRecord, out: Fetched, progress: Progress | None
) -> None:
    """Fetch what the card includes of a commit, file by file, each held to its git hash.

    Raises:
        DataError: no network, or a listing that is none.
        IntegrityError: a file that is not the published one, or a path that leads outside.
    """
    tree = _listing(source, to)
    wanted = {
        entry["path"].removeprefix(source.folder): entry
        for entry in tree
        if entry["path"].startswith(source.folder)
        and any(fnmatch.fnmatchcase(entry["path"].removeprefix(source.folder), pattern) for pattern in source.include)
    }
    if not wanted:
        raise DataError(
            f"Expected files like {', '.join(source.include)} in {source.listing}, found none; the card may be out of date."
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
            record.add(path, target, held(target, url, expected))
            out.kept.append(path)
            continue
        record.add(path, target, download(url, target, expected, progress))
        record.write()  # a kill now must not lose what holds the file from here on
        out.new.append(path)
    if progress is not None:
        progress("files", len(wanted), len(wanted))


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

"""Fetch a dataset's public files into a folder: what is complete is left alone, checksums are recorded and held."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigurationError, QbenchError, unknown
from .download import Progress
from .fetch_archives import fetch_archives
from .fetch_files import fetch_files, wanted_sections
from .fetch_repository import fetch_repository
from .fetched import RECORD, Fetched, FetchRecord
from .registry import DatasetCard
from .sources import FileSource, RepositorySource


def fetch(
    card: DatasetCard,
    to: Path,
    source: str | None = None,
    passwords: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    sections: Sequence[str] = (),
) -> Fetched:
    """Fetch the files of a dataset into `to`.

    Args:
        card: whose sources are tried.
        to: the folder of the files; what it holds already is hashed, not fetched again.
        source: a name of `card.sources`; the first by default.
        passwords: of encrypted archives, by the card's names.
        progress: called with what is fetched, bytes done and bytes in all.
        sections: those wanted, of a source whose files are by section; all where none is named.

    Raises:
        ConfigurationError: nothing to fetch from, an unknown source or section.
        DataError: no network, a wrong password, no room.
        IntegrityError: a checksum that does not hold, a malicious archive.
    """
    if not card.sources:
        raise ConfigurationError(
            f"Dataset {card.name} names no public source to fetch from; give its folder with --data-dir."
        )
    name = source or next(iter(card.sources))
    if name not in card.sources:
        raise unknown(f"source of {card.name}", name, card.sources)
    chosen = card.sources[name]
    if isinstance(chosen, FileSource):
        wanted = wanted_sections(chosen, sections, card.name)
    elif sections:
        raise ConfigurationError(f"{card.name} is fetched whole from {name}: leave out --sections.")
    task = f"{name}: {', '.join(sections)}" if sections else name
    record = FetchRecord(to)
    out = Fetched(name)
    if record.complete == task and not record.missing():
        record.hold()
        out.kept = sorted(record.files)
        out.notes.append(f"{to} is complete ({len(out.kept)} files), and every file has its recorded checksum.")
        return out
    to.mkdir(parents=True, exist_ok=True)
    before = set(record.files)
    try:
        if isinstance(chosen, RepositorySource):
            fetch_repository(chosen, to, record, out, progress)
        elif isinstance(chosen, FileSource):
            fetch_files(chosen, wanted, to, record, out, progress)
        else:
            fetch_archives(chosen.archives, to, record, out, progress, passwords, chosen.passwords)
    except QbenchError:
        for left in (*sorted((path for path in to.rglob("*") if path.is_dir()), reverse=True), to):
            with contextlib.suppress(OSError):
                left.rmdir()  # empty: nothing came, so nothing is left behind
        raise
    record.complete = task
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
    record = FetchRecord(folder)
    record.hold()
    return sorted(record.files)

"""Fetch archives and unpack of them what a card places."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigurationError, DataError, IntegrityError
from ..files import plain_sha256, settle
from .download import Expected, Progress, download
from .fetched import ARCHIVES, Fetched, FetchRecord, held
from .sources import Archive
from .unpack import is_archive, unpack


def fetch_archives(
    archives: Sequence[Archive],
    to: Path,
    record: FetchRecord,
    out: Fetched,
    progress: Progress | None,
    passwords: Mapping[str, str] | None = None,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> None:
    """Fetch archives, unpack them into the folder and remove them.

    Args:
        archives: where each is, its checksum, and where its members go.
        to: the dataset's folder.
        record: of what was fetched, brought up to date after each archive.
        out: takes the names of new and kept files.
        progress: called with what is fetched, bytes done and bytes in all.
        passwords: of encrypted archives, by the card's names.
        hint: where they are published, for messages.
        headers: sent along with each request.

    Raises:
        ConfigurationError: a password that is not given.
        DataError: no network, no archive, a wrong password, no room.
        IntegrityError: a checksum that does not hold, a malicious archive.
    """
    passwords = passwords or {}
    lacking = sorted({a.password for a in archives if a.password and a.password not in passwords})
    if lacking:
        raise ConfigurationError(
            f"The archives are encrypted: give --password {' --password '.join(f'{name}=...' for name in lacking)}"
            f"{'; ' + hint if hint else ''}."
        )
    store = to / ARCHIVES
    for archive in archives:
        path = store / archive.name
        expected = Expected(sha256=archive.sha256 or record.sha256(f"{ARCHIVES}/{archive.name}"))
        if path.is_file():
            digest = held(path, archive.url, expected)
        else:
            digest = download(archive.url, path, expected, progress, headers)
        if not is_archive(path):  # a page of the server, with status 200
            path.unlink()
            raise DataError(f"Expected a zip or tar archive from {archive.url}, found something else; try again later.")
        record.archives[archive.name] = digest
        record.write()
        _unpack(archive, path, to, record, out, passwords.get(archive.password or ""), hint)
    if store.is_dir():
        shutil.rmtree(store)


def _unpack(
    archive: Archive, path: Path, to: Path, record: FetchRecord, out: Fetched, password: str | None, hint: str
) -> None:
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=to) as inner:
        folder = Path(inner)
        for member in unpack(path, folder, archive.place, password, hint):
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
                settle(folder / member, target)
                out.new.append(name)
            record.add(name, target, digest)

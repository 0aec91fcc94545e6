"""Unpack a zip (encrypted or not) or tar that may be malicious: nothing leaves its folder, nothing swells without end."""

from __future__ import annotations

import errno
import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ..errors import DataError, IntegrityError

RATIO = 200  # unpacked bytes per packed byte; tables of counts stay below 30
SMALL = 1 << 24  # an archive that unpacks to no more than this may have any ratio
CHUNK = 1 << 20


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its path there, the bytes that it states, whether it is a link or worse, and its contents."""

    name: str
    size: int
    link: bool
    open: Callable[[], BinaryIO]


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar, gzipped or not."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(
    archive: Path, to: Path, place: Mapping[str, str], password: str | None = None, hint: str = ""
) -> list[Path]:
    r"""Unpack members into the empty folder `to`; returns their paths relative to it, sorted.

    Args:
        archive: a zip (AES-encrypted or not) or tar file.
        to: where the members go.
        place: regular expression over a member's path -> its new path, groups as \1; others are left out. A member
            `.gz` whose new path does not end so is unpacked, too.
        password: of an encrypted archive.
        hint: where passwords are published, for messages.

    Raises:
        DataError: no readable zip or tar, a wrong or missing password, no room, or no member that is wanted.
        IntegrityError: a member that would leave the folder, is a link, appears twice, or swells beyond reason.
    """
    import pyzipper

    try:
        with _opened(archive, password) as members:
            chosen = _place(archive, members, place)
            if not chosen:
                raise DataError(
                    f"Expected members like {', '.join(place)} in {archive.name}, found none; is it the right archive?"
                )
            _check_sizes(archive, [member for member, _ in chosen], to)
            for member, target in chosen:
                _extract(member, to / target, archive.name, password, hint)
    except (OSError, pyzipper.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the archive is sound: fetching it again would not help
        raise DataError(
            f"Expected a zip or tar archive in {archive}, but {error}; remove it and fetch it again."
        ) from error
    return sorted(target for _, target in chosen)


@contextmanager
def _opened(archive: Path, password: str | None) -> Iterator[list[_Member]]:
    import pyzipper

    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield [
                _Member(info.name, info.size, not info.isfile(), lambda info=info, tar=tar: tar.extractfile(info))  # type: ignore[misc]
                for info in tar.getmembers()
                if not info.isdir()
            ]
        return
    with pyzipper.AESZipFile(archive) as file:
        if password is not None:
            file.setpassword(password.encode())
        yield [_of_zip(file, info) for info in file.infolist() if not info.is_dir()]


def _of_zip(file: Any, info: Any) -> _Member:
    link = stat.S_ISLNK(info.external_attr >> 16)
    return _Member(info.filename, info.file_size, link, lambda: file.open(info))


def _place(archive: Path, members: Sequence[_Member], place: Mapping[str, str]) -> list[tuple[_Member, Path]]:
    chosen: list[tuple[_Member, Path]] = []
    taken: set[Path] = set()
    for member in members:
        _check_name(archive, member)
        for pattern, template in place.items():
            if match := re.fullmatch(pattern, member.name):
                target = _inside(archive, match.expand(template))
                if target in taken:
                    raise IntegrityError(f"{archive.name} holds {target} twice; it is damaged or malicious, remove it.")
                taken.add(target)
                chosen.append((member, target))
                break
    return chosen


def _check_name(archive: Path, member: _Member) -> None:
    _inside(archive, member.name)
    if member.link:
        raise IntegrityError(
            f"{archive.name} holds the link {member.name!r}, which could lead out of its folder; remove it."
        )


def _inside(archive: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise IntegrityError(f"{archive.name} holds {name!r}, which would be written outside its folder; remove it.")
    return Path(*path.parts)


def _check_sizes(archive: Path, members: Sequence[_Member], to: Path) -> None:
    total = sum(member.size for member in members)
    packed = max(archive.stat().st_size, 1)
    if total > SMALL and total > RATIO * packed:
        raise IntegrityError(
            f"{archive.name} states that its {packed:,} bytes unpack to {total:,}, which no table or image does; it is "
            "damaged or malicious, remove it."
        )
    free = shutil.disk_usage(to).free
    if total > free:
        raise DataError(
            f"Expected room for {total:,} bytes in {to}, found {free:,}; free some space and run the command again."
        )


def _extract(member: _Member, target: Path, archive: str, password: str | None, hint: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    packed = member.name.endswith(".gz") and target.suffix != ".gz"
    most = max(SMALL, RATIO * member.size) if packed else member.size
    written = 0
    try:
        with member.open() as raw, gzip.open(raw) if packed else raw as source, target.open("wb") as out:
            while block := source.read(CHUNK):
                written += len(block)
                if written > most:
                    raise IntegrityError(
                        f"{member.name} in {archive} is larger than it states; it is malicious, remove it."
                    )
                out.write(block)
    except RuntimeError as error:  # the zip library's word for both a missing and a wrong password
        state = (
            "a password, found none given" if password is None else "the right password, the one given does not open it"
        )
        raise DataError(f"{archive} is encrypted: expected {state}{'; ' + hint if hint else ''}.") from error

"""Unpack a zip, encrypted or not, that may be malicious: nothing leaves its folder, nothing swells without end."""

from __future__ import annotations

import errno
import re
import shutil
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError, IntegrityError

RATIO = 200  # unpacked bytes per packed byte; tables of counts stay below 30
SMALL = 1 << 24  # an archive that unpacks to no more than this may have any ratio
CHUNK = 1 << 20


def unpack(
    archive: Path, to: Path, place: Mapping[str, str], password: str | None = None, hint: str = ""
) -> list[Path]:
    """Unpack members into the empty folder `to`; returns their paths relative to it, sorted.

    Args:
        place: regular expression over a member's path -> its new path, groups as \\1; others are left out.
        password: of an encrypted archive. hint: where passwords are published, for messages.

    Raises:
        DataError: no readable zip, a wrong or missing password, no room, or no member that is wanted.
        IntegrityError: a member that would leave the folder, is a link, appears twice, or swells beyond reason.
    """
    import pyzipper

    try:
        with pyzipper.AESZipFile(archive) as file:
            members = [info for info in file.infolist() if not info.is_dir()]
            chosen = _place(archive, members, place)
            if not chosen:
                raise DataError(
                    f"Expected members like {', '.join(place)} in {archive.name}, found none; is it the right archive?"
                )
            _check_sizes(archive, [info for info, _ in chosen], to)
            if password is not None:
                file.setpassword(password.encode())
            for info, target in chosen:
                _extract(file, info, to / target, archive.name, password, hint)
    except (OSError, pyzipper.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the archive is sound: fetching it again would not help
        raise DataError(f"Expected a zip archive in {archive}, but {error}; remove it and fetch it again.") from error
    return sorted(target for _, target in chosen)


def _place(archive: Path, members: list[Any], place: Mapping[str, str]) -> list[tuple[Any, Path]]:
    chosen: list[tuple[Any, Path]] = []
    taken: set[Path] = set()
    for info in members:
        _check_name(archive, info)
        for pattern, template in place.items():
            if match := re.fullmatch(pattern, info.filename):
                target = _inside(archive, match.expand(template))
                if target in taken:
                    raise IntegrityError(f"{archive.name} holds {target} twice; it is damaged or malicious, remove it.")
                taken.add(target)
                chosen.append((info, target))
                break
    return chosen


def _check_name(archive: Path, info: Any) -> None:
    _inside(archive, info.filename)
    if stat.S_ISLNK(info.external_attr >> 16):
        raise IntegrityError(
            f"{archive.name} holds the link {info.filename!r}, which could lead out of its folder; remove it."
        )


def _inside(archive: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not path.parts:
        raise IntegrityError(f"{archive.name} holds {name!r}, which would be written outside its folder; remove it.")
    return Path(*path.parts)


def _check_sizes(archive: Path, members: list[Any], to: Path) -> None:
    total = sum(info.file_size for info in members)
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


def _extract(file: Any, info: Any, target: Path, archive: str, password: str | None, hint: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with file.open(info) as source, target.open("wb") as out:
            while block := source.read(CHUNK):
                written += len(block)
                if written > info.file_size:
                    raise IntegrityError(
                        f"{info.filename} in {archive} is larger than it states; it is malicious, remove it."
                    )
                out.write(block)
    except RuntimeError as error:  # the zip library's word for both a missing and a wrong password
        state = (
            "a password, found none given" if password is None else "the right password, the one given does not open it"
        )
        raise DataError(f"{archive} is encrypted: expected {state}{'; ' + hint if hint else ''}.") from error

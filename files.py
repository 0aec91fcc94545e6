"""Files and folders that appear whole or not at all.

What is being written stands beside its place as `.NAME.PID-TOKEN.tmp`, reaches the disk, and only then gets its name; a
kill leaves at most such a hidden leftover. Permissions are those that the umask gives.
"""

from __future__ import annotations

import errno
import glob
import gzip
import hashlib
import os
import platform
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

RATIO = 200  # unpacked bytes per packed byte; tables of counts stay below 30
SMALL = 1 << 24  # bytes that anything may unpack to, whatever the ratio
_CHUNK = 1 << 20
_STALE = 86_400.0  # seconds after which nobody still writes what lies aside, on whatever machine


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, line ends as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    with written(path) as temporary:
        temporary.write_bytes(content)


def check_regular(path: Path) -> None:
    """Whether a path is a file that ends: opening a pipe waits for ever, a device may have no end.

    Raises:
        OSError: it is neither a regular file nor a folder, or there is nothing.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def regular_bytes(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: as in `check_regular`, or it cannot be read.
    """
    check_regular(path)
    return path.read_bytes()


def plain_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes, always read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpacked_bytes(path: Path) -> bytes:
    """The bytes of a regular file, unpacked where they are gzipped; what is named `.gz` must be.

    Raises:
        OSError: as in `regular_bytes`, no sound gzip, or one that swells beyond reason.
    """
    packed = regular_bytes(path)
    if not packed.startswith(b"\x1f\x8b"):
        if path.suffix == ".gz":
            raise OSError(errno.EINVAL, "it is not gzipped", str(path))
        return packed
    most = max(SMALL, RATIO * len(packed))
    parts, size = [], 0
    with gzip.open(path) as file:
        while block := file.read(_CHUNK):
            parts.append(block)
            size += len(block)
            if size > most:
                raise OSError(errno.EFBIG, f"its {len(packed):,} bytes unpack to more than {most:,}", str(path))
    return b"".join(parts)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Where to write what becomes the file `path` when the block ends well, for libraries that write to a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _aside(path)
    remove_leftovers(path.parent, path.name)
    try:
        yield temporary
        settle(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def written_folder(folder: Path, lock: AbstractContextManager[Any] | None = None) -> Iterator[Path]:
    """An empty folder that becomes `folder` when the block ends well; an earlier one of that name goes only then.

    Args:
        folder: the name that it gets.
        lock: held while the names change, where others write the same folder.
    """
    temporary = _aside(folder)
    try:
        temporary.mkdir(parents=True)
        remove_leftovers(folder.parent, folder.name)
        yield temporary
        _open_to_umask(temporary)
        flush(temporary)
        with lock or nullcontext():
            replaced = _aside(folder)
            if folder.exists():
                folder.rename(replaced)
            try:
                temporary.rename(folder)
            except OSError:
                if replaced.exists():
                    replaced.rename(folder)
                raise
            shutil.rmtree(replaced, ignore_errors=True)
        flush(folder.parent, inside=False)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def settle(temporary: Path, path: Path) -> None:
    """Bring a file to the disk and give it its name, in place of one that has it."""
    flush(temporary)
    temporary.replace(path)


def remove_folder(folder: Path) -> None:
    """Remove a folder, renamed away first, so that nobody ever opens half of it; nothing where there is none."""
    if folder.exists():
        aside = _aside(folder)
        folder.rename(aside)
        shutil.rmtree(aside)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what killed processes left beside the files and folders in `folder`, or beside the one of that name.

    Those of other machines, whose processes nobody here knows, go after a day.
    """
    for left in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
        writer, _, token = left.name.rsplit(".", 2)[1].partition("-")
        if not writer.isdigit() or (name and left.name.rsplit(".", 2)[0] != f".{name}"):
            continue
        with suppress(OSError):  # another process removes it, too
            here = len(token) != len(_token()) or token.startswith(_machine())
            if not _writes(int(writer)) if here else time.time() - left.stat().st_mtime > _STALE:
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


def disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error: libraries tell it as errors of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def flush(path: Path, inside: bool = True) -> None:
    """Make sure that a file, or a folder with all below it, has reached the disk; `inside` False: the names alone."""
    for each in [*(path.rglob("*") if inside and path.is_dir() else ()), path]:
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _aside(path: Path) -> Path:
    if not path.name:
        raise OSError(errno.EISDIR, "it is the root of all folders", str(path))
    return path.with_name(f".{path.name}.{os.getpid()}-{_token()}.tmp")


def _token() -> str:
    return _machine() + secrets.token_hex(4)


def _machine() -> str:
    """Tells this machine's processes from those of others that share the folder; no name of it."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _open_to_umask(folder: Path) -> None:
    """Give files the permissions that the umask gave their folder: some libraries write for their owner alone."""
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in folder.rglob("*"):
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) | mode != stat.S_IMODE(path.stat().st_mode):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | mode)


def _writes(pid: int) -> bool:
    """Whether a process can still write: in a container without an init, a killed one stays as a zombie for good."""
    import psutil

    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False

"""Checksums of a file's blocks: cheap enough to be held against its bytes whenever a process first uses it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

BLOCK = 1 << 20  # bytes that a checksum covers

_held: set[tuple[str, int, int, int]] = set()  # files of this process that held: path, size, mtime, inode


def block_checksums(path: Path) -> list[int]:
    """The CRC-32 of each block of a file, the last of which may be short."""
    found = []
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            found.append(zlib.crc32(block[:size]))
    return found


def first_damaged(path: Path, due: Sequence[int]) -> int | None:
    """The first block whose checksum differs, counted from 0, or None; a file that held is not read again.

    Args:
        path: of the file.
        due: what `block_checksums` gave for it.
    """
    stat = path.stat()
    state = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if state in _held:
        return None
    found = block_checksums(path)
    if found == list(due):
        _held.add(state)
        return None
    return next((i for i, (a, b) in enumerate(zip(found, due, strict=False)) if a != b), min(len(found), len(due)))

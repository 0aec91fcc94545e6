"""One entry of the cache: what its header promises, how it is written, opened and checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..files import flush, plain_sha256
from .checksums import BLOCK, block_checksums, first_damaged

HEADER = "header.json"
VERSION = 2  # of the layout below; entries of another version are built anew
_MAPPED = 1 << 18  # smaller arrays are read: a mapping each would use up the open-files limit
_DAY = 86400.0


class Damaged(Exception):
    """Why an entry cannot be used."""


class OtherLayout(Damaged):
    """An entry that another version of qbench wrote: whole, as far as one can tell, and of no use."""


@dataclass(frozen=True)
class Entry:
    """An opened entry. `arrays` are read-only (the large ones memory-mapped), `folder` holds the entry's files."""

    folder: Path
    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, Any]


class EntryWriter:
    """Hands out what a new entry is filled with.

    Attributes:
        folder: where the entry is being written, not yet under its name.
        metadata: JSON-able; kept in the header.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata: dict[str, Any] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A zeroed, memory-mapped array to fill; its disk space is taken at once.

        Raises:
            OSError: no space left. (Writing to a sparse mapping on a full disk would kill the process instead.)
        """
        dtype = np.dtype(dtype)
        path = self.folder / f"{name}.npy"
        with path.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
            np.lib.format.write_array_header_1_0(file, header)
            offset = file.tell()
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            file.flush()
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), offset, size)
            else:
                for start in range(0, size, 1 << 24):
                    file.write(bytes(min(1 << 24, size - start)))
        values: NDArray[Any] = np.empty(shape, dtype)
        if size:
            values = np.memmap(path, dtype=dtype, mode="r+", offset=offset, shape=shape)
        self._arrays[name] = values
        return values

    def store(self, name: str, values: NDArray[Any]) -> None:
        """Write a whole array."""
        self.array(name, values.shape, values.dtype)[...] = values

    def finish(self) -> dict[str, tuple[str, list[int]]]:
        """Flush the arrays; their dtypes and shapes by name."""
        for values in self._arrays.values():
            if isinstance(values, np.memmap):
                values.flush()
        return {name: (values.dtype.str, list(values.shape)) for name, values in self._arrays.items()}


def seal_entry(writer: EntryWriter, kind: str, key: str) -> None:
    """Write the header of a new entry, the last of its files: what each other one is once it has reached the disk."""
    arrays = writer.finish()
    folder = writer.folder
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        flush(path)
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        files[name] = {
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "sha256": plain_sha256(path),
            "blocks": block_checksums(path),
        }
    header = {
        "qbench": VERSION,
        "kind": kind,
        "key": key,
        "metadata": writer.metadata,
        "arrays": arrays,
        "files": files,
    }
    path = folder / HEADER
    path.write_text(json.dumps({**header, "sha256": _digest(header)}, indent=1), encoding="utf-8")


def _digest(header: dict[str, Any]) -> str:
    """sha256 of what a header says, as it is read back."""
    values = json.loads(json.dumps(header))
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_entry(folder: Path, kind: str, key: str, contents: bool) -> dict[str, Any]:
    """The header of an entry, after holding it against its own hash, its files against it; `contents` hashes them too.

    Raises:
        FileNotFoundError: there is no such entry.
        Damaged: it was not written for this key, or a file changed since. OtherLayout: by another version of qbench.
    """
    try:
        text = (folder / HEADER).read_bytes()
    except FileNotFoundError as error:
        if not folder.exists():
            raise
        raise Damaged("it has no header") from error
    try:
        header = json.loads(text)
        found = (header["qbench"], header["kind"], header["key"])
        sealed = header.pop("sha256", None) == _digest(header)
        files = {name: (known["size"], known["mtime_ns"], known["sha256"]) for name, known in header["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged("its header cannot be read") from error
    if found[1:] != (kind, key):
        raise Damaged(f"it was written as {found[1]}/{found[2]}")
    if found[0] != VERSION:
        raise OtherLayout(f"layout {found[0]}, expected layout {VERSION}")
    if not sealed:
        raise Damaged("its header is not the one that was written (sha256 differs)")
    for name, (size, mtime_ns, sha256) in files.items():
        try:
            stat = (folder / name).stat()
        except FileNotFoundError as error:
            raise Damaged(f"{name} is missing") from error
        if stat.st_size != size:
            raise Damaged(f"{name} has {stat.st_size} bytes, expected {size}")
        if stat.st_mtime_ns != mtime_ns:
            raise Damaged(f"{name} was changed after it was written")
        if contents and plain_sha256(folder / name) != sha256:
            raise Damaged(f"{name} does not have the sha256 that its header states")
    return dict(header)


def open_entry(folder: Path, kind: str, key: str, checked: bool = True) -> Entry:
    """Open an entry after `check_entry`'s quick checks; `checked` holds each block of its files to its checksum.

    Raises:
        FileNotFoundError: there is no such entry.
        Damaged: see `check_entry`; or an array that is not what the header says.
    """
    header = check_entry(folder, kind, key, contents=False)
    if checked:
        for name, known in header["files"].items():
            if (block := first_damaged(folder / name, known["blocks"])) is not None:
                raise Damaged(f"{name} is not the one that was written (bytes from {block * BLOCK:,} on differ)")
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        path = folder / f"{name}.npy"
        small = path.stat().st_size < _MAPPED
        try:
            values = np.load(path, mmap_mode=None if small else "r", allow_pickle=False)
        except ValueError as error:
            raise Damaged(f"{name}.npy is not an array") from error
        if (values.dtype.str, list(values.shape)) != (dtype, shape):
            raise Damaged(f"{name}.npy holds {values.dtype}{values.shape}, expected {dtype}{tuple(shape)}")
        values.flags.writeable = False
        arrays[name] = values
    path = folder / HEADER
    if time.time() - path.stat().st_mtime > _DAY:
        with contextlib.suppress(OSError):  # a shared, read-only cache keeps no times of use
            os.utime(path)
    return Entry(folder, arrays, header["metadata"])

"""Whether HDF5 files can be read through without harm, asked in a process of its own (see `hdf5_files`).

Run as a program: a path a line comes in, an answer a line goes out, "" where nothing is wrong. Damaged files make the
library crash, or walk in circles without end, which only ends with the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any

SECONDS = 2  # of the processor's time for a file, and the more the larger it is
SPEED = 20e6  # bytes a second
MEMORY = 1 << 30  # that reading may take
SWELL = 2000  # bytes in memory for a byte of the file; the library's compression stays below 1032
SMALL = 1 << 28  # bytes that any file may state
READ = 1 << 25  # bytes of a dataset of numbers that are read; of larger ones both ends
DEEP = 32  # groups in groups
MOST = 200_000  # groups and datasets


class Unsound(Exception):
    """What is wrong with a file."""


def check(path: str) -> None:
    """Read a file as far as its structure reaches: groups, attributes, texts, and the numbers of small datasets.

    Raises:
        Unsound: what it states contradicts itself or its size, or leads out of it.
        Exception: what the library found.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _walk(file, os.path.getsize(path))


def _walk(file: Any, size: int) -> None:
    import h5py

    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[str, Any, int]] = [("/", file, 0)]
    while waiting:
        name, node, depth = waiting.pop()
        info = h5py.h5o.get_info(node.id)
        if (info.fileno, info.addr) in seen:
            continue
        seen.add((info.fileno, info.addr))
        if len(seen) > MOST or depth > DEEP:
            raise Unsound(f"it holds more than {MOST:,} parts, or parts nested more than {DEEP} deep")
        _attributes(name, node, size)
        if isinstance(node, h5py.Dataset):
            _dataset(name, node, size)
        elif isinstance(node, h5py.Group):
            for key in node:
                link = node.get(key, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    raise Unsound(f"'{name}' leads to another file")
                waiting.append((f"{name.rstrip('/')}/{key}", node[key], depth + 1))
            if {"data", "indices", "indptr"} <= set(node):
                _sparse(name, node)


def _attributes(name: str, node: Any, size: int) -> None:
    for key in node.attrs:
        stated = node.attrs.get_id(key)
        _bounded(f"attribute {key} of '{name}'", stated.dtype.itemsize * _product(stated.shape or ()), size)
        node.attrs[key]


def _dataset(name: str, data: Any, size: int) -> None:
    import h5py

    if data.is_virtual or data.external:
        raise Unsound(f"'{name}' lies in another file")
    if data.shape is None:
        return
    width, values = data.dtype.itemsize, data.size
    _bounded(f"'{name}'", width * values, size)
    if not data.shape or not values:
        data[()]
        return
    if data.chunks is not None:
        _bounded(f"a block of '{name}'", width * _product(data.chunks), size)
        data.id.get_num_chunks()
    row = max(1, width * values // data.shape[0])
    rows = max(1, READ // row)
    texts = h5py.check_string_dtype(data.dtype) is not None or data.dtype.kind not in "biufc"
    starts = range(0, data.shape[0], rows) if texts or width * values <= READ else (0, max(0, data.shape[0] - rows))
    for start in starts:
        data[start : start + (rows if texts else min(rows, max(1, READ // row)))]


def _sparse(name: str, group: Any) -> None:
    """Row pointers that never leave the values they point at: the readers of sparse matrices trust them."""
    import numpy as np

    if any(len(group[part].shape) != 1 for part in ("data", "indices", "indptr")):
        raise Unsound(f"'{name}' is no sparse matrix: its parts are no lists")
    n_stored, pointers = group["data"].shape[0], group["indptr"][:]
    stated = next((group.attrs[key] for key in ("shape", "h5sparse_shape") if key in group.attrs), None)
    shape = np.asarray(group["shape"][:] if stated is None and "shape" in group else () if stated is None else stated)
    if pointers.dtype.kind not in "iu" or group["indices"].dtype.kind not in "iu" or shape.dtype.kind not in "iu":
        raise Unsound(f"'{name}' is no sparse matrix: its pointers are no whole numbers")
    pointers = pointers.astype(np.int64)
    if group["indices"].shape[0] != n_stored or not len(pointers) or pointers[0] != 0 or pointers[-1] != n_stored:
        raise Unsound(f"'{name}' has {n_stored} values, its pointers and indices are of another number")
    if (np.diff(pointers) < 0).any():
        raise Unsound(f"the pointers of '{name}' run backwards")
    if len(shape) != 2 or len(pointers) - 1 not in shape:
        raise Unsound(f"'{name}' states the shape {shape.tolist()}, its pointers are of {len(pointers) - 1} rows")
    across = int(shape[1] if len(pointers) - 1 == shape[0] else shape[0])
    for start in range(0, n_stored, READ):
        indices = group["indices"][start : start + READ]
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < across:
            raise Unsound(f"'{name}' has {across} columns, an index lies outside them")


def _bounded(what: str, stated: int, size: int) -> None:
    if stated > max(SMALL, SWELL * size):
        raise Unsound(f"{what} states {stated:,} bytes, more than {size:,} bytes of file can hold")


def _product(shape: tuple[int, ...]) -> int:
    out = 1
    for length in shape:
        out *= length
    return out


def main() -> None:
    """Answer until the input ends."""
    import h5py  # noqa: F401 - before memory is bounded

    _bound_memory()
    for line in sys.stdin:
        path = json.loads(line)
        found = ""
        signal.setitimer(signal.ITIMER_PROF, SECONDS + os.path.getsize(path) / SPEED)  # its signal ends the process
        try:
            check(path)
        except Exception as error:  # noqa: BLE001 - the answer
            lines = str(error).strip().splitlines()
            found = (lines[0] if lines else "") or type(error).__name__
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(found), flush=True)


def _bound_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # where the system has no such bound
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))


if __name__ == "__main__":
    main()

"""The one way to read stored arrays and tables of them: npz, npy, parquet, safetensors; every failure one sentence."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import reading
from .files import SMALL, check_regular

if TYPE_CHECKING:
    import pyarrow as pa

SWELL = 1032  # the most that deflate makes of a byte
MOST = 1 << 30  # values of a table


def read_arrays(path: Path, what: str, remedy: str, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """The named arrays of an `.npz`, or all of them.

    Args:
        path: of the file.
        what: the file is to be, as words of a sentence.
        remedy: what to do where it is not, its last words.
        names: of the arrays; absent ones are left out.

    Raises:
        DataError: no such file, or one that is damaged or swells beyond reason.
    """
    with reading(what, path, remedy):
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            packed, stated = path.stat().st_size, sum(member.file_size for member in archive.infolist())
            if stated > max(SMALL, SWELL * packed):
                raise ValueError(f"its {packed:,} bytes state {stated:,}")
            for member in archive.infolist():
                with archive.open(member) as file:
                    _check_stated(file, member.file_size, member.filename)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names) if name in arrays.files}


def read_array(path: Path, what: str, remedy: str, mapped: bool = False) -> NDArray[Any]:
    """The array of an `.npy`, memory-mapped and read-only where `mapped`; errors as in `read_arrays`."""
    with reading(what, path, remedy):
        check_regular(path)
        with path.open("rb") as file:
            _check_stated(file, path.stat().st_size, path.name)
        found: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return found


def read_parquet(
    path: Path, what: str, remedy: str, columns: Sequence[str] | None = None, most: int = MOST
) -> pa.Table:
    """The named columns of a parquet table, or all; errors as in `read_arrays`, or more than `most` values."""
    import pyarrow.parquet as pq

    with reading(what, path, remedy):
        check_regular(path)
        with pq.ParquetFile(path) as file:
            stated = file.metadata.num_rows * file.metadata.num_columns
            if stated > most:
                raise ValueError(f"it states {stated:,} values, more than {most:,}")
            return file.read(None if columns is None else list(columns))


def read_weights(path: Path, what: str, remedy: str) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file by name; errors as in `read_arrays`."""
    from safetensors.numpy import load_file

    with reading(what, path, remedy):
        check_regular(path)
        return dict(load_file(path))


def _check_stated(file: IO[bytes], size: int, name: str) -> None:
    """Hold what an array's header states against the bytes that there are, before room for it is taken."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    stated = dtype.itemsize
    for length in shape:
        if length < 0:
            raise ValueError(f"{name} states the shape {shape}")
        stated *= length
    if dtype.hasobject:
        raise ValueError(f"{name} holds pickled objects, which are never opened")
    if stated > size:
        raise ValueError(f"{name} states {stated:,} bytes, more than its {size:,} hold")

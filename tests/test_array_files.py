"""Arrays and tables are read whole, or refused in one sentence that names the file."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qbench.array_files import read_array, read_arrays, read_parquet, read_weights
from qbench.errors import DataError
from safetensors.numpy import save_file


def _npy(shape: tuple[int, ...], content: bytes = b"") -> bytes:
    """An array file that states a shape, and holds these bytes."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return out.getvalue() + content


def _npz(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)


def write_all(folder: Path) -> dict[Path, Callable[[Path], Any]]:
    np.savez(folder / "a.npz", a=np.arange(100.0))
    np.save(folder / "a.npy", np.arange(100.0))
    pq.write_table(pa.table({"a": list(range(100))}), folder / "a.parquet")
    save_file({"a": np.arange(100.0)}, folder / "a.safetensors")
    readers: dict[str, Any] = {
        "npz": read_arrays, "npy": read_array, "parquet": read_parquet, "safetensors": read_weights
    }  # fmt: skip
    return {
        folder / f"a.{ending}": lambda path, read=read: read(path, "numbers", "make them again")
        for ending, read in readers.items()
    }


def test_what_was_written_is_read(tmp_path: Path) -> None:
    found = [read(path) for path, read in write_all(tmp_path).items()]
    assert [np.asarray(one["a"] if not isinstance(one, np.ndarray) else one).sum() for one in found] == [4950] * 4


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "folder", "pipe", "absent"])
def test_damaged_files_are_one_sentence(tmp_path: Path, damage: str) -> None:
    for path, read in write_all(tmp_path).items():
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "empty":
            path.write_bytes(b"")
        elif damage == "other":
            path.write_bytes(bytes(range(256)) * 4)
        elif damage == "folder":
            path.mkdir()
        elif damage == "pipe":
            os.mkfifo(path)
        with pytest.raises(DataError, match=r"Expected numbers in .*make them again") as told:
            read(path)
        assert path.name in str(told.value)
        assert len(str(told.value).splitlines()) == 1


def test_room_is_not_taken_for_what_a_file_only_states(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(_npy((1 << 40,)))
    with pytest.raises(DataError, match="states 8,796,093,022,208 bytes"):
        read_array(tmp_path / "a.npy", "numbers", "make them again")
    _npz(tmp_path / "a.npz", _npy((1 << 40,)))
    with pytest.raises(DataError, match="states 8,796,093,022,208 bytes"):
        read_arrays(tmp_path / "a.npz", "numbers", "make them again")
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(DataError, match="Expected numbers"):
        read_weights(tmp_path / "a.safetensors", "numbers", "make them again")
    pq.write_table(pa.table({"a": list(range(100))}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="it states 100 values, more than 99"):
        read_parquet(tmp_path / "a.parquet", "numbers", "make them again", most=99)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled objects"):
        read_array(tmp_path / "a.npy", "numbers", "make them again")

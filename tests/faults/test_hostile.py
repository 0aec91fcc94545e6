"""Inputs made to harm, a kind each: every one is read, or refused in one sentence, with bounds on time and memory."""

from __future__ import annotations

import gzip
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from qbench.array_files import read_array, read_arrays, read_parquet, read_weights
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.readers.tables import read_spots
from qbench.datasets.registry import open_dataset
from qbench.leaderboard.record import read_record
from qbench.text_files import read_json, read_rows, read_text
from qbench.yaml_files import read_yaml

from ..support.datasets_sections import counts, grid, write_card, write_h5ad
from .apart import outcome

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
WORDS = ("what it is to be", "write it anew")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(path: Path, width: int, height: int) -> None:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(100))) + _chunk(b"IEND", b""))


def _png_text(path: Path) -> None:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + text + _chunk(b"IDAT", zlib.compress(bytes(8 * 25))) + _chunk(b"IEND", b"")
    )


def _tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(1_000_000)


def _npz(path: Path, shape: str, size: int = 0) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(size)
    if path.suffix == ".npy":
        path.write_bytes(body)
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", body)


def _safetensors(path: Path, header: Any, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(64))


def _parquet_wide(path: Path) -> None:
    """A column of one value, said a billion times: a few bytes a page."""
    pq.write_table(
        pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(np.zeros(5_000_000, np.int8)), ["x" * 1000])}), path
    )


def _links(path: Path) -> None:
    write_h5ad(path, counts(), spatial=grid())
    with h5py.File(path, "r+") as file:
        for name, to in (("obs", "/var"), ("var", "/obs")):
            del file[name]
            file[name] = h5py.SoftLink(to)
        file["uns/inner"] = h5py.SoftLink("/uns")


def _external(path: Path) -> None:
    write_h5ad(path, counts(), spatial=grid())
    with h5py.File(path, "r+") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink("/etc/passwd", "/")


def _h5_bomb(path: Path) -> None:
    write_h5ad(path, counts(), spatial=grid())
    with h5py.File(path, "r+") as file:
        del file["X"]
        file.create_dataset("X", shape=(12, 1 << 40), dtype="f4", chunks=(1, 1 << 20), compression="gzip")


def _section(path: Path) -> None:
    write_card(path.parent / "card.yaml", "h5ad", [{"id": "S1", "patient": "P1", "file": path.name}])
    open_dataset(str(path.parent / "card.yaml"), None, ArrayCache(path.parent / "cache")).load("S1")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _text(text: str | bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode()) and None


def _lines(path: Path) -> None:
    """A line of 2 GB that costs no disk."""
    with path.open("wb") as file:
        file.write(b"spot,x,y\na,1,")
        file.truncate(2 << 30)


ANCHORS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
Read = Callable[[Path], Any]
KINDS: list[tuple[str, str, Callable[[Path], Any], Read]] = [
    ("png of a million by a million", "a.png", lambda p: _png(p, 1_000_000, 1_000_000), lambda p: open_image(p).decode_all()),
    ("png that says less than it holds", "a.png", lambda p: _png(p, 0, 10), lambda p: open_image(p).decode_all()),
    ("png with a text that swells", "a.png", _png_text, lambda p: open_image(p).decode_all()),
    ("tiff of a million by a million", "a.tif", _tiff, lambda p: open_image(p).decode_all()),
    ("npz that states terabytes", "a.npz", lambda p: _npz(p, "(1099511627776,)"), lambda p: read_arrays(p, *WORDS)),
    ("npz of a negative size", "a.npz", lambda p: _npz(p, "(-1, 4)", 64), lambda p: read_arrays(p, *WORDS)),
    ("npz that swells", "a.npz", lambda p: _npz(p, "(50000000,)", 400_000_000), lambda p: read_arrays(p, *WORDS)),
    ("npy that states terabytes", "a.npy", lambda p: _npz(p, "(1099511627776,)"), lambda p: read_array(p, *WORDS, mapped=True)),
    ("safetensors with a header of 2^60", "a.safetensors", lambda p: _safetensors(p, {}, 1 << 60), lambda p: read_weights(p, *WORDS)),
    ("safetensors beyond its end", "a.safetensors", lambda p: _safetensors(
        p, {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}), lambda p: read_weights(p, *WORDS)),
    ("safetensors that is nested", "a.safetensors", lambda p: _safetensors(p, b"[" * 100_000), lambda p: read_weights(p, *WORDS)),
    ("parquet that is wide", "a.parquet", _parquet_wide, lambda p: read_parquet(p, *WORDS)),
    ("h5ad of links in a circle", "a.h5ad", _links, _section),
    ("h5ad that leads outside", "a.h5ad", _external, _section),
    ("h5ad that states terabytes", "a.h5ad", _h5_bomb, _section),
    ("yaml of anchors", "a.yaml", _text(ANCHORS), lambda p: read_yaml(p, "anything")),
    ("yaml of itself", "a.yaml", _text("&a [*a, {b: *a}]"), lambda p: read_yaml(p, "anything")),
    ("yaml that is deep", "a.yaml", _text("[" * 50_000), lambda p: read_yaml(p, "anything")),
    ("yaml that calls", "a.yaml", _text("!!python/object/apply:os.system ['true']"), lambda p: read_yaml(p, "anything")),
    ("json with a huge number", "a.json", _text('{"a": ' + "9" * 100_000 + "}"), lambda p: read_json(p, *WORDS)),
    ("json that is deep", "a.json", _text("[" * 200_000), lambda p: read_json(p, *WORDS)),
    ("json of nan", "a.json", _text('{"schema": NaN, "cell": Infinity, "status": -Infinity}'), read_record),
    ("json with a lone half", "a.json", _text('{"a": "\\ud800"}'), lambda p: read_json(p, *WORDS)),
    ("csv with nulls", "a.csv", _text(b"spot,x,y\n\0a,1,2\0\n"), read_spots),
    ("csv with a mark and mixed quotes", "a.csv", _text('\ufeffspot,x,y\n"a\'",1,2\n\'b",3,4\n"c'), read_spots),
    ("csv with a cell of a megabyte", "a.csv", _text("spot,x,y\n" + "a" * 1_000_000 + ",1,2\n"), lambda p: read_rows(p, *WORDS)),
    ("csv of one line of 2 GB", "a.csv", _lines, lambda p: read_rows(p, *WORDS)),
    ("csv in another encoding", "a.csv", _text("spot,x,y\nä,1,2\n".encode("utf-16")), read_spots),
    ("csv.gz in csv.gz", "a.csv.gz", _text(gzip.compress(gzip.compress(bytes(300_000_000)))), lambda p: read_text(p, *WORDS)),
    ("a pipe", "a.csv", os.mkfifo, read_spots),
    ("a pipe as an image", "a.tif", os.mkfifo, open_image),
    ("a pipe as hdf5", "a.h5ad", os.mkfifo, _section),
    ("a folder", "a.csv", Path.mkdir, read_spots),
    ("a folder as an image", "a.png", Path.mkdir, open_image),
    ("a folder as hdf5", "a.h5ad", Path.mkdir, _section),
    ("a folder as arrays", "a.npz", Path.mkdir, lambda p: read_arrays(p, *WORDS)),
    ("a folder as weights", "a.safetensors", Path.mkdir, lambda p: read_weights(p, *WORDS)),
    ("a link to itself", "a.csv", _loop, read_spots),
    ("a link to itself as an image", "a.png", _loop, open_image),
    ("a link to itself as hdf5", "a.h5ad", _loop, _section),
    ("a device without end", "a.csv", lambda p: p.symlink_to("/dev/zero"), read_spots),
    ("a name of two lines with escapes", "a\n\x1b[2J\u202eb.csv", _text("spot,x\n"), read_spots),
    ("an empty file as weights", "a.safetensors", _text(""), lambda p: read_weights(p, *WORDS)),
    ("an empty file as a table", "a.parquet", _text(""), lambda p: read_parquet(p, *WORDS)),
]  # fmt: skip


def test_no_hostile_input_gets_through(tmp_path: Path) -> None:
    became = {}
    for number, (kind, name, make, read) in enumerate(KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / name
        make(path)
        became[kind] = outcome(lambda r=read, p=path: (r(p), "")[1], tmp_path / "log")
        if became[kind] not in ("accepted", "refused"):
            became[kind] += ": " + (tmp_path / "log").read_text()[-400:]
        if path.is_file() and path.stat().st_size > 1 << 28:
            path.unlink()
    assert {kind: end for kind, end in became.items() if end not in ("accepted", "refused")} == {}
    assert len([end for end in became.values() if end == "refused"]) > len(KINDS) // 2

"""Slides as scanners write them, with no more in them than their readers ask for: 3DHISTECH MRXS and DICOM."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

SLIDEDAT = """[GENERAL]
SLIDE_VERSION = 01.02
SLIDE_ID = {id}
SLIDE_TYPE = {kind}
IMAGENUMBER_X = {across}
IMAGENUMBER_Y = {down}
OBJECTIVE_MAGNIFICATION = 20
CameraImageDivisionsPerSide = 1

[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_SECTION = LAYER_0_SECTION
HIER_0_VAL_0 = ZoomLevel_0
HIER_0_VAL_0_SECTION = LAYER_0_LEVEL_0_SECTION

[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat

[LAYER_0_LEVEL_0_SECTION]
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {microns}
MICROMETER_PER_PIXEL_Y = {microns}
IMAGE_FORMAT = PNG
IMAGE_FILL_COLOR_BGR = 16777215
IMAGE_CONCAT_FACTOR = 0
DIGITIZER_WIDTH = {tile}
DIGITIZER_HEIGHT = {tile}
"""


def write_mrxs(path: Path, pixels: np.ndarray, microns: float = 0.5, kind: str = "SLIDE_TYPE_BRIGHTFIELD") -> Path:
    """A thumbnail at `path` and the folder of its data, tiles of 256 as PNG; without the tile in the upper left corner."""
    tile, name = 256, "0" * 31 + "1"
    down, across = (n // tile for n in pixels.shape[:2])
    folder = path.with_suffix("")
    folder.mkdir()
    Image.fromarray(np.ascontiguousarray(pixels[::8, ::8])).save(path, "JPEG")
    text = SLIDEDAT.format(id=name, kind=kind, across=across, down=down, microns=microns, tile=tile)
    (folder / "Slidedat.ini").write_text(text)
    head = b"01.02" + name.encode()
    data, entries = head + bytes(16), []
    for number in range(1, across * down):
        y, x = (tile * i for i in divmod(number, across))
        encoded = _encoded(pixels[y : y + tile, x : x + tile], "PNG")
        entries.append(struct.pack("<4i", number, len(data), len(encoded), 0))
        data += encoded
    (folder / "Data0000.dat").write_bytes(data)
    start = len(head) + 8  # of the table of levels; then the list of its pages, then the one page
    pages = struct.pack("<6i", start, 0, start + 4, 0, start + 12, len(entries)) + struct.pack("<i", 0)
    (folder / "Index.dat").write_bytes(head + pages + b"".join(entries))
    return path


def write_dicom(path: Path, pixels: np.ndarray, microns: float = 0.5) -> Path:
    """The full resolution of a DICOM slide, tiles of 256 as JPEG."""
    tile, uid, kind = 256, "1.2.3.4.5", "1.2.840.10008.5.1.4.1.1.77.1.6"
    height, width = pixels.shape[:2]
    frames = []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = pixels[y : y + tile, x : x + tile]
            part = np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)), constant_values=255)
            encoded = _encoded(part, "JPEG")
            frames.append(encoded + bytes(len(encoded) % 2))
    meta = b"".join(
        [
            _element(2, 0x01, "OB", b"\0\1"),
            _element(2, 0x02, "UI", kind),
            _element(2, 0x03, "UI", f"{uid}.1"),
            _element(2, 0x10, "UI", "1.2.840.10008.1.2.4.50"),  # JPEG
            _element(2, 0x12, "UI", "1.2.3.4"),
        ]
    )
    size = f"{microns / 1000}\\{microns / 1000}"
    elements = [
        _element(2, 0x00, "UL", len(meta)), meta,
        _element(8, 0x08, "CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"), _element(8, 0x16, "UI", kind),
        _element(8, 0x18, "UI", f"{uid}.1"), _element(8, 0x60, "CS", "SM"),
        _element(0x20, 0x0D, "UI", f"{uid}.2"), _element(0x20, 0x0E, "UI", f"{uid}.3"),
        _element(0x20, 0x9311, "CS", "TILED_FULL"),
        _element(0x28, 0x02, "US", 3), _element(0x28, 0x04, "CS", "YBR_FULL_422"), _element(0x28, 0x06, "US", 0),
        _element(0x28, 0x08, "IS", str(len(frames))), _element(0x28, 0x10, "US", tile), _element(0x28, 0x11, "US", tile),
        _element(0x28, 0x100, "US", 8), _element(0x28, 0x101, "US", 8), _element(0x28, 0x102, "US", 7),
        _element(0x28, 0x103, "US", 0), _element(0x48, 0x06, "UL", width), _element(0x48, 0x07, "UL", height),
        _sequence(0x48, 0x105, _element(0x48, 0x112, "DS", "20")), _element(0x48, 0x303, "UL", 1),
        _sequence(0x5200, 0x9229, _sequence(0x28, 0x9110, _element(0x28, 0x30, "DS", size))),
    ]  # fmt: skip
    starts = np.concatenate([[0], np.cumsum([8 + len(frame) for frame in frames])[:-1]]).astype("<u4").tobytes()
    body = struct.pack("<HH", 0x7FE0, 0x10) + b"OB\0\0\xff\xff\xff\xff"
    body += b"".join(_item(each) for each in (starts, *frames)) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    path.write_bytes(bytes(128) + b"DICM" + b"".join(elements) + body)
    return path


def _encoded(pixels: np.ndarray, form: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, form, quality=95)
    return data.getvalue()


def _element(group: int, number: int, kind: str, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        value = struct.pack("<H" if kind == "US" else "<I", value)
    data = value.encode() if isinstance(value, str) else value
    data += (b"\0" if kind == "UI" else b" ") * (len(data) % 2)
    length = b"\0\0" + struct.pack("<I", len(data)) if kind in ("OB", "SQ") else struct.pack("<H", len(data))
    return struct.pack("<HH", group, number) + kind.encode() + length + data


def _item(data: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data)) + data


def _sequence(group: int, number: int, item: bytes) -> bytes:
    return _element(group, number, "SQ", _item(item))

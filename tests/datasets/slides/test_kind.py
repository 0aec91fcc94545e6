from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from qbench.datasets.images import open_image
from qbench.errors import DataError

PIXELS = np.full((100, 120, 3), 200, np.uint8)


@pytest.mark.parametrize("name", ["s.mrxs", "S.MRXS"])
@pytest.mark.parametrize("folder", [False, True])
def test_a_mrxs_without_its_data_is_a_thumbnail(tmp_path: Path, name: str, folder: bool) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / name, "JPEG")
    if folder:
        (tmp_path / name).with_suffix("").mkdir()
    with pytest.raises(
        DataError, match=r"3DHISTECH MRXS slide without its data folder; copy the folder [sS] .*bfconvert"
    ):
        open_image(tmp_path / name)


def test_a_thumbnail_beside_its_data_is_never_the_image(tmp_path: Path) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / "s.jpg")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "Slidedat.ini").write_text("[GENERAL]\n")
    with pytest.raises(DataError, match=r"thumbnail of a 3DHISTECH MRXS slide; name the file s\.mrxs"):
        open_image(tmp_path / "s.jpg")
    for name in ("v.vsi", "v.tif"):
        tifffile.imwrite(tmp_path / name, PIXELS, photometric="rgb")
    (tmp_path / "_v_" / "stack1").mkdir(parents=True)
    (tmp_path / "_v_" / "stack1" / "frame_t.ets").write_bytes(b"SIS\0")
    for name in ("v.vsi", "v.tif"):
        with pytest.raises(DataError, match=r"thumbnail of an Olympus VSI slide.*bfconvert"):
            open_image(tmp_path / name)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"ZISRAWFILE\0\0\0\0\0\0", "a Zeiss CZI slide; convert it to OME-TIFF, for example with 'bfconvert"),
        (b"\xda\xce\xbe\x0a", "a Nikon ND2 file; convert it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file"),
        (b"[NanoZoomer Digital Pathology Image Set]\r\n", "a fluorescence slide .Hamamatsu NDPIS.; export"),
        (b"[Virtual Microscope Specimen]\r\nNoLayers=1\r\n", "a Hamamatsu VMS slide without its images; copy"),
        (b"\0" * 128 + b"DICM" + b"\0" * 200, "DICOM that is no brightfield whole-slide image"),
        (b"<!DOCTYPE html><html>", "a web page instead of an image; fetch"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer instead of an image; fetch"),
        (b"\x1f\x8b\x08\0", "a gzip archive; unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["slide.czi", "slide.tif", "slide.JPG"])
def test_a_format_that_is_not_read_is_named_by_its_first_bytes(
    tmp_path: Path, head: bytes, found: str, name: str
) -> None:
    (tmp_path / name).write_bytes(head)
    with pytest.raises(DataError, match=found) as error:
        open_image(tmp_path / name)
    assert "\n" not in str(error.value)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="found no regular file"):
        open_image(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="found no regular file"):
        open_image(tmp_path)

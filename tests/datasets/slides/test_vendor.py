from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from qbench.datasets.images import open_image
from qbench.datasets.patches import read_patches
from qbench.datasets.slides.kind import image_hash
from qbench.datasets.slides.tiff import TiffSlide
from qbench.datasets.slides.vendor import VendorSlide
from qbench.errors import DataError
from qbench.files import plain_sha256

APERIO = "Aperio Image Library v12.0.5\r\n1000x700 (240x240) |AppMag = 20|MPP = 0.4990|x"


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 255, (35, 50, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((1000, 700), Image.Resampling.BICUBIC))


def aperio(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    with tifffile.TiffWriter(path) as file:
        shared = {"photometric": "rgb", "tile": (240, 240), "metadata": None, **options}
        file.write(pixels, description=APERIO, **shared)
        file.write(pixels[::8, ::8], photometric="rgb", description="Aperio thumbnail", metadata=None, rowsperstrip=16)
        file.write(pixels[::4, ::4], description=APERIO, **shared)
    return path


def wavelets(path: Path, pixels: np.ndarray, compression: str) -> Path:
    """An Aperio slide of lossless JPEG 2000 tiles: 33003 holds YCbCr, 33005 RGB."""
    values = np.asarray(Image.fromarray(pixels).convert("YCbCr")) if compression.endswith("YCBC") else pixels
    tiles = []
    for y in range(0, 700, 240):
        for x in range(0, 1000, 240):
            part = values[y : y + 240, x : x + 240]
            tile = np.pad(part, ((0, 240 - part.shape[0]), (0, 240 - part.shape[1]), (0, 0)))
            tiles.append(imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False, reversible=True))
    tifffile.imwrite(
        path, iter(tiles), shape=(700, 1000, 3), dtype=np.uint8, tile=(240, 240), photometric="rgb",
        compression=compression, description=APERIO, metadata=None,
    )  # fmt: skip
    return path


def test_an_svs_is_opened_by_openslide(tmp_path: Path, pixels: np.ndarray) -> None:
    image = open_image(aperio(tmp_path / "A.SVS", pixels, compression="jpeg"))
    assert isinstance(image, VendorSlide)
    assert image.levels == ((1000, 700), (250, 175))
    assert image.scale is not None
    assert (image.scale.microns, image.scale.source) == (0.499, "openslide.mpp-x (aperio)")
    assert image.notes == ()
    due = tifffile.imread(tmp_path / "A.SVS", series=0, level=0)
    assert np.abs(image.read(10, 20, 500, 400).astype(int) - due[20:420, 10:510]).max() <= 1
    small = tifffile.imread(tmp_path / "A.SVS", series=0, level=1)
    assert np.abs(image.read(10, 20, 50, 40, 1).astype(int) - small[20:60, 10:60]).max() <= 1
    seen: list[tuple[int, int]] = []
    image.decode_all(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)


@pytest.mark.parametrize(("compression", "most"), [("APERIO_JP2000_RGB", 0), ("APERIO_JP2000_YCBC", 3)])
def test_aperio_s_jpeg_2000(tmp_path: Path, pixels: np.ndarray, compression: str, most: int) -> None:
    path = wavelets(tmp_path / "a.svs", pixels, compression)
    image = open_image(path)
    assert isinstance(image, VendorSlide)
    found = image.read(0, 0, 1000, 700).astype(int)
    assert np.abs(found - pixels).max() <= most
    if compression.endswith("YCBC"):  # 33003 is YCbCr by its number alone
        return
    assert (TiffSlide(path).read(0, 0, 1000, 700) == found).all()


def test_what_openslide_leaves_to_others_is_read_all_the_same(tmp_path: Path, pixels: np.ndarray) -> None:
    strips = tmp_path / "strips.svs"
    tifffile.imwrite(strips, pixels, photometric="rgb", rowsperstrip=16, description=APERIO, metadata=None)
    image = open_image(strips)
    assert isinstance(image, TiffSlide)
    assert (image.read(0, 0, 1000, 700) == pixels).all()
    assert image.scale is not None
    assert image.scale.microns == 0.499


def test_regions_are_read_in_parallel_and_in_order(tmp_path: Path, pixels: np.ndarray) -> None:
    image = open_image(aperio(tmp_path / "a.svs", pixels, compression="deflate"))
    assert image.parallel
    corners = np.random.default_rng(1).integers(-20, 680, (600, 2))
    found = list(read_patches(image, corners, 32, 32))
    padded = np.pad(pixels, ((20, 40), (20, 0), (0, 0)), mode="edge")
    assert len(found) == 600
    assert all(
        (patch == padded[y + 20 : y + 52, x + 20 : x + 52]).all() for patch, (x, y) in zip(found, corners, strict=True)
    )


def test_tiles_that_a_scanner_left_out_are_background(tmp_path: Path, pixels: np.ndarray) -> None:
    path = aperio(tmp_path / "a.svs", pixels, compression="deflate")
    with tifffile.TiffFile(path, mode="r+b") as file:
        counts = file.pages[0].tags["TileByteCounts"]
        counts.overwrite([0, *counts.value[1:]])
    found = open_image(path).read(0, 0, 480, 240)
    assert (found[:, :240] == 255).all()
    assert (found[:, 240:] == pixels[:240, 240:480]).all()


@pytest.mark.parametrize("options", [{"dtype": np.uint16}, {"photometric": "separated"}])
def test_what_openslide_would_turn_into_rgb_in_silence(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    values = pixels.astype(options.pop("dtype", np.uint8))
    if options:
        values = np.dstack([values, values[..., :1]])
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path, values, tile=(256, 256), description=APERIO, metadata=None, **{"photometric": "rgb", **options}
    )
    assert openslide.OpenSlide.detect_format(path) == "aperio"
    with pytest.raises(DataError, match=r"a TIFF of (16 bits a channel|CMYK colours); convert it"):
        open_image(path)


def test_damage_is_an_error(tmp_path: Path, pixels: np.ndarray) -> None:
    path = aperio(tmp_path / "a.svs", pixels, compression="jpeg")
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]
    data = bytearray(path.read_bytes())
    data[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(data)
    with pytest.raises(DataError, match="Expected a readable slide"):
        open_image(path).decode_all()


SCN = (
    '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">'
    '<collection name="c" uuid="urn:uuid:2" sizeX="900000" sizeY="900000"><barcode>x</barcode>'
    '<image name="i" uuid="urn:uuid:3"><creationDate>x</creationDate><device model="Leica SCN400" version="1"/>'
    '<pixels sizeX="1000" sizeY="700"><dimension sizeX="1000" sizeY="700" r="0" ifd="0"/></pixels>'
    '<view sizeX="500000" sizeY="350000" offsetX="0" offsetY="0"/>'
    "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>"
    "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    "</collection></scn>"
)


def test_a_leica_scn(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.scn"
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(256, 256), compression="jpeg", description=SCN, metadata=None,
        resolution=(20_000, 20_000), resolutionunit="CENTIMETER", bigtiff=True,
    )  # fmt: skip
    image = open_image(path)
    assert isinstance(image, VendorSlide)
    assert image.scale is not None
    assert image.scale.microns == pytest.approx(0.5)
    assert np.abs(image.read(0, 0, 1000, 700).astype(int) - tifffile.imread(path)).max() <= 1


def test_a_hamamatsu_ndpi(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.ndpi"
    tags = [
        (65420, 4, 1, 1, True),
        (65421, 11, 1, 20.0, True),
        (65422, 9, 1, 0, True),
        (65423, 9, 1, 0, True),
        (65424, 9, 1, 0, True),
    ]
    tifffile.imwrite(
        path, pixels[:, :960], photometric="rgb", rowsperstrip=700, compression="jpeg", metadata=None, extratags=tags,
        resolution=(22_000, 22_000), resolutionunit="CENTIMETER",
    )  # fmt: skip
    assert openslide.OpenSlide.detect_format(path) == "hamamatsu"
    image = open_image(path)
    assert image.scale is not None
    assert image.scale.microns == pytest.approx(1e4 / 22_000)
    assert np.abs(image.read(3, 5, 900, 600).astype(int) - pixels[5:605, 3:903]).mean() < 2  # as far as JPEG goes


def test_the_hash_of_a_jpeg_or_png_is_its_file_s(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("a.png", "a.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        assert image_hash(tmp_path / name, tmp_path / "cache") == plain_sha256(tmp_path / name)

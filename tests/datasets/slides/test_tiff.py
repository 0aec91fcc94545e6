from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from qbench.datasets.images import open_image
from qbench.datasets.slides import levels, tiff
from qbench.datasets.slides.tiff import TiffSlide
from qbench.errors import DataError


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 255, (35, 50, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((1000, 700), Image.Resampling.BICUBIC))


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (256, 256)},
        {"tile": (128, 256), "compression": "deflate"},
        {"rowsperstrip": 16, "compression": "lzw"},
        {"rowsperstrip": 700},
    ],
)
def test_regions_are_the_pixels_that_were_written(tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]) -> None:
    image = open_image(write(tmp_path / "a.tif", pixels, **options))
    assert isinstance(image, TiffSlide)
    assert image.size == (1000, 700)
    for x, y, width, height in ((0, 0, 1000, 700), (100, 60, 333, 222), (999, 699, 1, 1), (250, 250, 300, 20)):
        assert (image.read(x, y, width, height) == pixels[y : y + height, x : x + width]).all()


def test_jpeg_tiles_are_close(tmp_path: Path, pixels: np.ndarray) -> None:
    image = TiffSlide(write(tmp_path / "a.tif", pixels, tile=(256, 256), compression="jpeg"))
    assert np.abs(image.read(10, 20, 500, 400).astype(int) - pixels[20:420, 10:510]).mean() < 2


def test_grey_and_transparent_slides_read_as_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "grey.tif", pixels[..., 0], tile=(256, 256), photometric="minisblack")
    grey = TiffSlide(tmp_path / "grey.tif").read(5, 6, 40, 30)
    assert (grey == pixels[6:36, 5:45, :1]).all()
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 9, np.uint8)])
    tifffile.imwrite(tmp_path / "alpha.tif", alpha, tile=(256, 256), photometric="rgb", extrasamples=["unassalpha"])
    assert (TiffSlide(tmp_path / "alpha.tif").read(5, 6, 40, 30) == pixels[6:36, 5:45]).all()


def test_levels_of_a_pyramid(tmp_path: Path, pixels: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(pixels, tile=(256, 256), photometric="rgb", subifds=1)
        file.write(pixels[::4, ::4], tile=(128, 128), photometric="rgb", subfiletype=1)
    image = TiffSlide(tmp_path / "p.tif")
    assert image.levels == ((1000, 700), (250, 175))
    assert (image.read(10, 20, 50, 40, level=1) == pixels[::4, ::4][20:60, 10:60]).all()


def test_kept_tiles_stay_within_their_bytes(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "KEPT", 300_000)
    image = TiffSlide(write(tmp_path / "a.tif", pixels, tile=(128, 128)))
    assert (image.read(0, 0, 1000, 700) == pixels).all()
    assert sum(tile.nbytes for tile in image._tiles.values()) <= 300_000


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"dtype": np.uint16}, "a TIFF of 16 bits a channel; convert it to 8 bits, for example with 'vips cast a.tif"),
        ({"dtype": np.float32}, "a TIFF of 32 bits a channel of floating point; convert it"),
        ({"photometric": "separated"}, "a TIFF of CMYK colours; convert it"),
        ({"photometric": "cielab"}, "a TIFF of CIELAB colours; convert it"),
    ],
)
def test_what_needs_a_conversion_is_named_with_it(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], found: str
) -> None:
    values = pixels.astype(options.pop("dtype", np.uint8))
    if options.get("photometric") == "separated":
        values = np.dstack([values, values[..., :1]])
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(256, 256), **{"photometric": "rgb", **options})
    with pytest.raises(DataError) as error:
        open_image(tmp_path / "a.tif")
    assert f"found {found}" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_tiff(tmp_path: Path) -> None:
    (tmp_path / "c.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot identify image file"):
        open_image(tmp_path / "c.tif")
    (tmp_path / "d.tif").write_bytes(b"II*\0no image")
    with pytest.raises(DataError, match=r"Expected a readable slide in .*d.tif"):
        open_image(tmp_path / "d.tif")
    with pytest.raises(DataError, match="there is no such file"):
        open_image(tmp_path / "missing.tif")


def test_a_huge_compressed_strip_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    path = write(tmp_path / "bomb.tif", pixels, rowsperstrip=700, compression="deflate")
    monkeypatch.setattr(levels, "MAX_TILE", 1_000_000)
    with pytest.raises(DataError, match=r"one compressed piece of 1000 x 700 pixels.*vips tiffsave"):
        TiffSlide(path)


@pytest.mark.parametrize("planar", [False, True])
def test_an_uncompressed_strip_of_any_size_is_read_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, planar: bool
) -> None:
    monkeypatch.setattr(levels, "MAX_TILE", 1000)
    values = np.moveaxis(pixels, -1, 0) if planar else pixels
    path = write(tmp_path / "a.tif", values, rowsperstrip=300, planarconfig="separate" if planar else "contig")
    image = TiffSlide(path)
    for x, y, width, height in ((0, 0, 1000, 700), (100, 290, 333, 222), (999, 699, 1, 1)):
        assert (image.read(x, y, width, height) == pixels[y : y + height, x : x + width]).all()
    image.decode_all()
    path.write_bytes(path.read_bytes()[:-300_000])
    with pytest.raises(DataError, match="Expected a readable slide"):
        TiffSlide(path).read(900, 600, 100, 100)


@pytest.mark.parametrize("tile", [None, (128, 128)])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "jpeg"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_planes_are_put_together(
    tmp_path: Path, pixels: np.ndarray, tile: Any, compression: str | None, bigtiff: bool
) -> None:
    planes = np.moveaxis(pixels, -1, 0)
    path = tmp_path / "a.tif"
    write(path, planes, planarconfig="separate", tile=tile, compression=compression, bigtiff=bigtiff)
    found = TiffSlide(path).read(10, 20, 500, 400)
    assert (found == tifffile.imread(path).transpose(1, 2, 0)[20:420, 10:510]).all()


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_inverted_grey_and_palettes(tmp_path: Path, pixels: np.ndarray, photometric: str) -> None:
    table = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16) * 257
    options = {"colormap": table} if photometric == "palette" else {}
    tifffile.imwrite(tmp_path / "a.tif", pixels[..., 0], photometric=photometric, tile=(128, 128), **options)
    due = np.asarray(Image.open(tmp_path / "a.tif").convert("RGB"))
    assert (TiffSlide(tmp_path / "a.tif").read(0, 0, 1000, 700) == due).all()


def ycbcr(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("YCbCr"))


def packed(values: np.ndarray, across: int, down: int) -> bytes:
    """Blocks of brightnesses with one pair of colours each, as TIFF 6.0 lays them."""
    height, width = values.shape[:2]
    out = b""
    for y in range(0, height, down):
        for x in range(0, width, across):
            block = values[y : y + down, x : x + across]
            out += block[..., 0].tobytes() + block[0, 0, 1:].tobytes()
    return out


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "packbits", "zstd"])
def test_ycbcr_is_turned_into_rgb_whatever_its_compression(
    tmp_path: Path, pixels: np.ndarray, compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"photometric": "ycbcr", "subsampling": (1, 1)}
    tags = [(532, 5, 6, (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1), True)]
    tifffile.imwrite(
        path, ycbcr(pixels), tile=(128, 128), compression=compression, extratags=tags, metadata=None, **options
    )
    found = TiffSlide(path).read(0, 0, 1000, 700).astype(int)
    assert np.abs(found - pixels).max() <= 3  # 8-bit YCbCr does not hold every colour
    if compression not in ("zstd", None):  # which Pillow may not have, or reads from version 13 on alone
        assert np.abs(found - np.asarray(Image.open(path).convert("RGB"))).max() <= 2


@pytest.mark.parametrize(("across", "down"), [(2, 1), (2, 2)])
@pytest.mark.parametrize("packer", [lambda data: data, zlib.compress])
def test_shared_colours_are_spread(tmp_path: Path, across: int, down: int, packer: Callable[[bytes], bytes]) -> None:
    values = ycbcr(
        np.asarray(
            Image.fromarray(np.random.default_rng(3).integers(0, 255, (4, 5, 3), dtype=np.uint8)).resize((64, 48))
        )
    )
    data = packer(packed(values, across, down))
    path = tmp_path / "a.tif"
    entries = [
        (256, 3, 1, 64), (257, 3, 1, 48), (258, 3, 3, None), (259, 3, 1, 1 if data == packed(values, across, down) else 8),
        (262, 3, 1, 6), (273, 4, 1, 300), (277, 3, 1, 3), (278, 3, 1, 48), (279, 4, 1, len(data)),
        (284, 3, 1, 1), (530, 3, 2, across | down << 16),
    ]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, kind, n, value in entries:
        head += struct.pack("<HHII", tag, kind, n, 200 if value is None else value)
    head = (head + bytes(4)).ljust(200, b"\0") + struct.pack("<3H", 8, 8, 8)
    path.write_bytes(head.ljust(300, b"\0") + data)
    found = TiffSlide(path).read(0, 0, 64, 48).astype(int)
    if packer is zlib.compress:  # Pillow does not read such blocks uncompressed
        assert np.abs(found - np.asarray(Image.open(path).convert("RGB"))).max() <= 2
    shared = values.copy()
    for axis, n in ((0, down), (1, across)):
        shared[..., 1:] = shared[..., 1:].take(np.arange(shared.shape[axis]) // n * n, axis=axis)
    assert np.abs(found - np.asarray(Image.fromarray(shared, "YCbCr").convert("RGB"))).max() <= 2


def test_the_same_pixels_as_openslide(tmp_path: Path, pixels: np.ndarray) -> None:
    for compression in (None, "deflate", "lzw", "jpeg"):
        path = write(tmp_path / f"{compression}.tif", pixels, tile=(256, 256), compression=compression, bigtiff=True)
        with openslide.OpenSlide(path) as other:
            due = np.asarray(other.read_region((33, 44), 0, (700, 600)))[..., :3]
        assert (open_image(path).read(33, 44, 700, 600) == due).all()


def test_of_several_images_the_largest_is_read(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("a.ome.tif", "b.tif"):
        with tifffile.TiffWriter(tmp_path / name, ome=name.startswith("a")) as file:
            file.write(pixels[:60, :50], photometric="rgb", metadata={"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "µm"})
            file.write(
                pixels, photometric="rgb", metadata={"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}, tile=(256, 256)
            )
            file.write(
                pixels[:200, :500], photometric="rgb", metadata={"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "µm"}
            )
        image = open_image(tmp_path / name)
        assert image.size == (1000, 700)
        assert (image.read(0, 0, 1000, 700) == pixels).all()
        scale = image.scale
        assert (None if scale is None else scale.microns) == (0.5 if name.startswith("a") else None)


@pytest.mark.parametrize(
    ("channels", "order"),
    [
        ({}, "RGB"),
        ({"Name": ["Red", "Green", "Blue"]}, "RGB"),
        ({"Name": ["b", "g", "r"]}, "BGR"),
        ({"Name": ["Channel:0:0", "Channel:0:1", "Channel:0:2"]}, "RGB"),
        ({"Color": [65535, 16711935, -16776961]}, "BGR"),
        ({"Color": [-1, -1, -1]}, "RGB"),
    ],
)
@pytest.mark.parametrize("depth", [1, 2])
def test_grey_channels_are_colours_by_the_metadata(
    tmp_path: Path, pixels: np.ndarray, channels: dict[str, Any], order: str, depth: int
) -> None:
    planes = np.stack([pixels[..., "RGB".index(colour)] for colour in order])
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        metadata = {"axes": "CYX", "Channel": channels}
        file.write(planes, photometric="minisblack", tile=(128, 128), metadata=metadata, subifds=depth - 1)
        if depth == 2:
            file.write(planes[:, ::2, ::2], photometric="minisblack", tile=(128, 128), subfiletype=1)
    image = open_image(tmp_path / "a.ome.tif")
    assert image.levels == ((1000, 700), (500, 350))[:depth]
    assert (image.read(10, 20, 300, 200) == pixels[20:220, 10:310]).all()
    if depth == 2:
        assert (image.read(10, 20, 300, 200, 1) == pixels[::2, ::2][20:220, 10:310]).all()


@pytest.mark.parametrize(
    ("n", "metadata", "found"),
    [
        (3, {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "Cy5"]}}, "3 channels named DAPI, FITC, Cy5, as of fluorescence"),
        (3, {"axes": "CYX", "Channel": {"EmissionWavelength": [450, 520, 670]}}, "fluorescence channels"),
        (5, {"axes": "CYX"}, "5 grey channels that nothing names as red, green and blue"),
        (2, {"axes": "CYX"}, "2 grey channels that nothing names"),
        (3, {"axes": "ZYX"}, "a stack of 3 images"),
        (4, {"axes": "TYX"}, "a stack of 4 images"),
    ],
)  # fmt: skip
def test_fluorescence_and_stacks_are_named(tmp_path: Path, n: int, metadata: dict[str, Any], found: str) -> None:
    planes = np.zeros((n, 64, 48), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, photometric="minisblack", metadata=metadata)
    with pytest.raises(DataError, match=found):
        open_image(tmp_path / "a.ome.tif")


def test_colours_of_imagej(tmp_path: Path, pixels: np.ndarray) -> None:
    small = np.ascontiguousarray(pixels[:70, :100])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, small, imagej=True, resolution=(2.5, 2.5), metadata={"unit": "um"})
    image = open_image(path)
    assert (image.read(0, 0, 100, 70) == small).all()
    assert image.scale is not None
    assert image.scale.microns == pytest.approx(0.4)
    tifffile.imwrite(path, small.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    assert (open_image(path).read(0, 0, 100, 70) == small).all()


def test_a_qptiff_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    text = "<PerkinElmer-QPI-ImageDescription><DescriptionVersion>3</DescriptionVersion></PerkinElmer-QPI-ImageDescription>"
    write(tmp_path / "a.tif", pixels, tile=(256, 256), description=text, metadata=None)
    with pytest.raises(DataError, match=r"QPTIFF; convert it to OME-TIFF, for example with 'bfconvert"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("seed", range(3))
def test_random_faults_are_sentences(tmp_path: Path, pixels: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.5}
    planes = np.moveaxis(pixels[:70, :100], -1, 0)
    tifffile.imwrite(path, planes, photometric="minisblack", tile=(64, 64), compression="deflate", metadata=metadata)
    whole = path.read_bytes()
    said = []
    for _ in range(40):
        data = bytearray(whole)
        data[rng.integers(0, 2000)] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(data)
        try:
            open_image(path).decode_all()
        except DataError as error:
            said.append(str(error))
    assert said
    assert not any("\n" in sentence for sentence in said)


def test_a_truncated_slide_is_never_grey(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels, tile=(256, 256))
    path.write_bytes(path.read_bytes()[:-300_000])
    with pytest.raises(DataError, match="Expected a readable slide"):
        TiffSlide(path).read(0, 0, 1000, 700)

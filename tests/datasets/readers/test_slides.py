from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from qbench.datasets.images import open_image
from qbench.datasets.readers import slides
from qbench.datasets.readers.slides import Slide
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
    assert isinstance(image, Slide)
    assert image.size == (1000, 700)
    for x, y, width, height in ((0, 0, 1000, 700), (100, 60, 333, 222), (999, 699, 1, 1), (250, 250, 300, 20)):
        assert (image.read(x, y, width, height) == pixels[y : y + height, x : x + width]).all()


def test_jpeg_tiles_are_close(tmp_path: Path, pixels: np.ndarray) -> None:
    image = Slide(write(tmp_path / "a.tif", pixels, tile=(256, 256), compression="jpeg"))
    assert np.abs(image.read(10, 20, 500, 400).astype(int) - pixels[20:420, 10:510]).mean() < 2


def test_grey_and_transparent_slides_read_as_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "grey.tif", pixels[..., 0], tile=(256, 256), photometric="minisblack")
    grey = Slide(tmp_path / "grey.tif").read(5, 6, 40, 30)
    assert (grey == pixels[6:36, 5:45, :1]).all()
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 9, np.uint8)])
    tifffile.imwrite(tmp_path / "alpha.tif", alpha, tile=(256, 256), photometric="rgb", extrasamples=["unassalpha"])
    assert (Slide(tmp_path / "alpha.tif").read(5, 6, 40, 30) == pixels[6:36, 5:45]).all()


def test_levels_of_a_pyramid(tmp_path: Path, pixels: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "p.tif") as file:
        file.write(pixels, tile=(256, 256), photometric="rgb", subifds=1)
        file.write(pixels[::4, ::4], tile=(128, 128), photometric="rgb", subfiletype=1)
    image = Slide(tmp_path / "p.tif")
    assert image.levels == ((1000, 700), (250, 175))
    assert (image.read(10, 20, 50, 40, level=1) == pixels[::4, ::4][20:60, 10:60]).all()


def test_kept_tiles_stay_within_their_bytes(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slides, "KEPT", 300_000)
    image = Slide(write(tmp_path / "a.tif", pixels, tile=(128, 128)))
    assert (image.read(0, 0, 1000, 700) == pixels).all()
    assert sum(tile.nbytes for tile in image._tiles.values()) <= 300_000


@pytest.mark.parametrize(
    ("name", "options", "due"),
    [
        ("a.tif", {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}, 0.5),
        ("a.tif", {"resolution": (300, 300), "resolutionunit": "INCH"}, None),  # a printer's 85 microns
        ("a.tif", {}, None),
        ("a.ome.tif", {"metadata": {"axes": "YXS", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm"}}, 0.25),
        ("a.svs", {"description": "Aperio Image Library v12\r\n1000x700 |AppMag = 20|MPP = 0.4990|x"}, 0.499),
    ],
)
def test_microns_per_pixel_as_stated(
    tmp_path: Path, pixels: np.ndarray, name: str, options: dict[str, Any], due: float | None
) -> None:
    assert Slide(write(tmp_path / name, pixels, tile=(256, 256), **options)).microns_per_pixel == due


def test_what_cannot_be_read_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="found uint16 values"):
        Slide(write(tmp_path / "a.tif", pixels.astype(np.uint16)))
    with pytest.raises(DataError, match="found 3 channels, separate"):
        Slide(write(tmp_path / "b.tif", np.moveaxis(pixels, -1, 0), planarconfig="separate"))
    (tmp_path / "c.tif").write_bytes(b"no image")
    with pytest.raises(DataError, match="not a TIFF file"):
        Slide(tmp_path / "c.tif")
    with pytest.raises(DataError, match="Expected a readable slide"):
        Slide(tmp_path / "missing.tif")


def test_a_huge_strip_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray
) -> None:
    path = write(tmp_path / "bomb.tif", pixels, rowsperstrip=700, compression="deflate")
    monkeypatch.setattr(slides, "MAX_TILE", 1_000_000)
    with pytest.raises(DataError, match="one piece of 1000 x 700 pixels"):
        Slide(path)


def test_a_truncated_slide_is_never_grey(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.tif", pixels, tile=(256, 256))
    path.write_bytes(path.read_bytes()[:-300_000])
    with pytest.raises(DataError, match="Expected a readable slide"):
        Slide(path).read(0, 0, 1000, 700)

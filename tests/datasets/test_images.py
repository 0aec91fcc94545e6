from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from qbench.datasets import images
from qbench.datasets.images import open_image
from qbench.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray = PIXELS, **options: object) -> Path:
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_regions_of_an_image(tmp_path: Path, name: str) -> None:
    image = open_image(save(tmp_path / name))
    assert image.size == (60, 40)
    np.testing.assert_array_equal(image.read(0, 0, 60, 40), PIXELS)
    np.testing.assert_array_equal(image.read(7, 3, 5, 4), PIXELS[3:7, 7:12])


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG"])
def test_a_jpeg_decodes_as_pillow_does(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, quality=90)
    image = open_image(path)
    assert image.size == (60, 40)
    expected = np.asarray(PIL.Image.open(path)).astype(int)
    assert np.abs(image.read(0, 0, 60, 40) - expected).max() <= 1


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.jpg", PIXELS[..., 0], quality=95)
    assert open_image(grey).read(0, 0, 60, 40).shape == (40, 60, 3)
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(open_image(save(tmp_path / "alpha.png", opaque)).read(0, 0, 60, 40), PIXELS)


def test_the_size_is_known_without_decoding(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = save(tmp_path / name)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        image = open_image(path)
        assert image.size == (60, 40)
        with pytest.raises(DataError, match=f"Expected a readable image in .*{name}"):
            image.read(0, 0, 4, 4)


def test_no_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        with pytest.raises(DataError, match=name):
            open_image(tmp_path / name)
        (tmp_path / name).write_bytes(b"<html>not found</html>")
        with pytest.raises(DataError, match=name):
            open_image(tmp_path / name)


def test_modes_that_need_a_choice(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="CMYK"):
        open_image(tmp_path / "a.jpg")
    PIL.Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="I;16"):
        open_image(tmp_path / "a.png")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / "a.png"), save(tmp_path / "a.jpg")]
    monkeypatch.setattr(images, "MAX_PIXELS", 2399)
    for path in paths:
        with pytest.raises(DataError, match="its header states 60 x 40"):
            open_image(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 2400)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1199)  # Pillow refuses twice this
    with pytest.raises(DataError, match="bomb"):
        open_image(paths[0])
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1201)
    assert open_image(paths[0]).size == (60, 40)

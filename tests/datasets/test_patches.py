from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.patches import open_patches, patch_key, read_patch
from qbench.datasets.registry import Dataset
from qbench.datasets.section import Section
from qbench.errors import DataError
from scipy import sparse

WIDTH, HEIGHT = 90, 70
# A pixel's value tells where it is: red its column, green its row, blue their sum.
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
PIXELS = np.stack([COLUMNS, ROWS, ROWS + COLUMNS], axis=-1).astype(np.uint8)


def section(tmp_path: Path, xy: list[tuple[float, float]], pixels: NDArray[np.uint8] = PIXELS) -> Section:
    path = tmp_path / "image.png"
    PIL.Image.fromarray(pixels).save(path)
    n = len(xy)
    return Section(
        id="A1",
        patient="A",
        counts=sparse.csr_matrix(np.ones((n, 1), np.int32)),
        genes=("G",),
        spots=tuple(f"s{i}" for i in range(n)),
        array_xy=np.array(xy, float),
        pixel_xy=np.array(xy, float),
        image=path,
        microns_per_pixel=0.5,
        content=f"content of {xy}",
    )


@pytest.mark.parametrize(
    ("x", "first"),
    [(40.0, 36), (40.4, 36), (40.5, 36), (40.6, 37), (41.5, 38)],  # rint(x) - 4; halves to even
)
def test_a_window_is_centred_on_the_rounded_centre(tmp_path: Path, x: float, first: int) -> None:
    patches, _ = open_patches(section(tmp_path, [(x, 30.0)]), 8, None, ArrayCache(tmp_path))
    assert patches.shape == (1, 8, 8, 3)
    assert patches.dtype == np.uint8
    assert patches[0, 0, :, 0].tolist() == list(range(first, first + 8))
    assert patches[0, :, 0, 1].tolist() == list(range(26, 34))


def test_an_odd_window(tmp_path: Path) -> None:
    patches, _ = open_patches(section(tmp_path, [(40.0, 30.0)]), 5, None, ArrayCache(tmp_path))
    assert patches[0, 0, :, 0].tolist() == [38, 39, 40, 41, 42]


def test_windows_across_the_border_repeat_the_edge(tmp_path: Path) -> None:
    spots = [(0.0, 0.0), (2.0, 50.0), (89.0, 69.0), (90.0, 3.2), (45.0, 35.0)]
    cache = ArrayCache(tmp_path)
    patches, key = open_patches(section(tmp_path, spots), 10, None, cache)
    around = np.pad(PIXELS, ((20, 20), (20, 20), (0, 0)), mode="edge")
    for patch, (x, y) in zip(patches, spots, strict=True):
        left, top = round(x) - 5 + 20, round(y) - 5 + 20
        np.testing.assert_array_equal(patch, around[top : top + 10, left : left + 10])
    image = open_image(tmp_path / "image.png")
    for x, y in ((-15, -3), (95, 40), (3, 75), (-19, -12)):  # a part of a patch may lie wholly outside
        np.testing.assert_array_equal(read_patch(image, x, y, 8, 8), around[y + 20 : y + 28, x + 20 : x + 28])
    (entry,) = [info for info in cache.entries() if info.key == key]
    assert entry.kind == "patches"
    metadata = cache.get("patches", key, pytest.fail).metadata
    assert metadata == {"section": "A1", "window": 10, "padded": 4, "microns_per_pixel": 0.5}


def test_an_image_smaller_than_the_window(tmp_path: Path) -> None:
    tiny = PIXELS[:3, :4]
    patches, _ = open_patches(section(tmp_path, [(2.0, 1.0)], tiny), 8, None, ArrayCache(tmp_path))
    np.testing.assert_array_equal(patches[0], np.pad(tiny, ((3, 2), (2, 2), (0, 0)), mode="edge"))


def test_shrinking_takes_the_mean_of_each_area(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, PIXELS.shape, dtype=np.uint8)
    cache = ArrayCache(tmp_path)
    patches, key = open_patches(section(tmp_path, [(40.0, 30.0)], pixels), 8, 1.0, cache)  # 16 native pixels
    window = pixels[22:38, 32:48].astype(float)
    mean = window.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    assert np.abs(patches[0] - mean).max() <= 1  # rounded once for rows and once for columns
    metadata = cache.get("patches", key, pytest.fail).metadata
    assert metadata == {"section": "A1", "window": 16, "padded": 0, "microns_per_pixel": 1.0}


def test_growing_keeps_a_ramp(tmp_path: Path) -> None:
    patches, _ = open_patches(section(tmp_path, [(40.0, 30.0)]), 16, 0.25, ArrayCache(tmp_path))  # 8 native pixels
    expected = 36 + (np.arange(16) + 0.5) / 2 - 0.5  # where the new pixels lie
    assert np.abs(patches[0, 8, 3:-3, 0] - expected[3:-3]).max() <= 0.6


def test_keys_follow_all_that_decides_the_pixels() -> None:
    keys = [patch_key("a", 224, None), patch_key("b", 224, None), patch_key("a", 112, None), patch_key("a", 224, 0.5)]
    assert len(set(keys)) == 4
    assert patch_key("a", 224, None) == keys[0]
    with pytest.raises(ValueError, match="content"):
        patch_key("", 224, None)


def test_patches_are_cut_once_and_report_progress(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path)
    spots = [(20.0 + i % 40, 30.0) for i in range(130)]
    told: list[tuple[str, int, int]] = []
    wanted = section(tmp_path, spots)
    first, key = open_patches(wanted, 8, None, cache, lambda *news: told.append(news))
    assert told == [("patches of A1", done, 130) for done in (64, 128, 130)]
    assert wanted.image is not None
    wanted.image.unlink()
    again, same = open_patches(wanted, 8, None, cache, lambda *_: pytest.fail("cut again"))
    assert same == key == patch_key(wanted.content, 8, None)
    np.testing.assert_array_equal(first, again)
    assert not again.flags.writeable


@pytest.mark.parametrize("xy", [(-1.0, 5.0), (5.0, 70.5), (91.0, 5.0), (float("nan"), 5.0)])
def test_a_spot_outside_the_image(tmp_path: Path, xy: tuple[float, float]) -> None:
    with pytest.raises(
        DataError, match=r"Section A1: spot s1 at pixel .* lies outside its image of 90 x 70 pixels \(1 of 2"
    ):
        open_patches(section(tmp_path, [(5.0, 5.0), xy]), 8, None, ArrayCache(tmp_path))


def test_what_a_section_may_lack(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    whole = section(tmp_path, [(5.0, 5.0)])
    for part, what in (("image", "has no image to"), ("pixel_xy", "no pixel coordinates")):
        with pytest.raises(DataError, match=what):
            open_patches(dataclasses.replace(whole, **{part: None}), 8, None, cache)
    with pytest.raises(DataError, match="microns per pixel"):
        open_patches(dataclasses.replace(whole, microns_per_pixel=None), 8, 0.5, cache)
    assert open_patches(dataclasses.replace(whole, microns_per_pixel=None), 8, None, cache)[0].shape == (1, 8, 8, 3)


def test_a_truncated_jpeg_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    cache = ArrayCache(tmp_path / "cache")
    with pytest.raises(DataError, match=r"image\.jpg"):
        open_patches(dataclasses.replace(section(tmp_path, [(5.0, 5.0)]), image=path), 8, None, cache)
    assert cache.entries() == []


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_real_patches(her2st: Dataset, cache: ArrayCache) -> None:
    real = her2st.load("C2")
    assert real.image is not None
    assert real.pixel_xy is not None
    patches, _ = open_patches(real, 224, None, cache)
    assert patches.shape == (187, 224, 224, 3)
    with PIL.Image.open(real.image) as image:
        for i in (0, 93, 186):
            left, top = (round(value) - 112 for value in real.pixel_xy[i])
            crop = np.asarray(image.crop((left, top, left + 224, top + 224)))
            assert np.abs(patches[i].astype(int) - crop).max() <= 1

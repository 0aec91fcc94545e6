"""Tiles of a section on one grid: where they lie, what is white, and the same pixels for a section and a slide."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.cohort import SealedSection
from qbench.datasets.images import open_image
from qbench.datasets.section import Section
from qbench.datasets.tiles import Surroundings, open_tiles, stored_tiles, tiles_of
from scipy import sparse


@pytest.fixture
def pixels(tmp_path):
    values = np.random.default_rng(0).integers(0, 200, (70, 100, 3)).astype(np.uint8)
    PIL.Image.fromarray(values).save(tmp_path / "image.png")
    return values


def test_a_tile_is_the_images_pixels_and_white_beyond_them(pixels, tmp_path):
    image = open_image(tmp_path / "image.png")
    tiles = tiles_of(image, Surroundings(16, 3), np.array([[40.0, 8.0]]), 8, 8, lambda patch: patch)
    inside, border, beyond, before = tiles.read(np.array([[1, 2], [6, 4], [9, 0], [-1, 0]]))
    np.testing.assert_array_equal(inside, pixels[32:48, 16:32])
    np.testing.assert_array_equal(border[:6, :4], pixels[64:, 96:])
    assert (border[6:] == 255).all()
    assert (border[:, 4:] == 255).all()
    assert (beyond == 255).all()
    assert (before == 255).all()
    # at half the scale a tile shows twice as much, and a place is at half the pixels
    coarse = tiles_of(image, Surroundings(16, 3), np.array([[40.0, 8.0]]), 16, 8, lambda patch: patch)
    np.testing.assert_allclose(coarse.places, [[20.0, 4.0]])
    due = pixels[:32, 32:64].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(coarse.read(np.array([[1, 0]]))[0] - due).max() <= 1


def test_what_is_cached_is_what_a_slide_shows_around_every_spot(pixels, tmp_path):
    wanted, xy = Surroundings(8, 3), np.array([[60.0, 40.0], [70.0, 68.0]])
    section = Section(
        id="A1", patient="A", counts=sparse.csr_matrix(np.ones((2, 1), np.int32)), genes=("G",), spots=("a", "b"),
        array_xy=xy, pixel_xy=xy, image=tmp_path / "image.png", microns_per_pixel=None, content="c",
    )  # fmt: skip
    cache = ArrayCache(tmp_path / "cache")
    arrays = open_tiles(section, wanted, 6, None, lambda: lambda patch: 200 - patch, "key", cache)
    stored, image = stored_tiles(*arrays), open_image(tmp_path / "image.png")
    live = tiles_of(image, wanted, xy, 6, 6, lambda patch: 200 - patch)
    assert arrays[0].shape[:2] < (9, 13), "what no spot sees is left out"
    shift = live.places - stored.places
    assert (shift == shift[0]).all()
    reach = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2)
    for place, at in zip(live.places // 8, stored.places // 8, strict=True):
        seen = live.read((place + reach).astype(np.int64))
        np.testing.assert_array_equal(stored.read((at + reach).astype(np.int64)), seen)
    again = open_tiles(section, wanted, 6, None, lambda: pytest.fail("cut twice"), "key", cache)
    np.testing.assert_array_equal(again[0], arrays[0])


def test_a_part_of_a_section_has_its_own_places():
    stored = stored_tiles(np.zeros((1, 1, 4, 4, 3), np.uint8), np.array([[1.0, 2.0], [3.0, 0.0]]))

    class Store:
        def tiles(self, section: str, key: str):
            assert (section, key) == ("A1", "#4x1")
            return stored

    part = SealedSection("A1", "A", ("G",), ("b",), np.zeros((1, 2)), None, None, None, Store(), np.array([1]))
    np.testing.assert_array_equal(part.tiles(Surroundings(4, 1)).places, [[3.0, 0.0]])


@pytest.mark.parametrize(("tile", "grid"), [(0, 3), (16, 2)])
def test_a_window_without_a_middle_is_refused(tile, grid):
    with pytest.raises(ValueError, match="odd grid"):
        Surroundings(tile, grid)

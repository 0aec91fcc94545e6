"""Where on a slide is predicted: lengths, tissue and the grid on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qbench.benchmark.predict import grid as grids
from qbench.benchmark.predict.grid import grid_points, parse_length
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.registry import open_dataset
from qbench.datasets.tissue import Overview, find_tissue, otsu, overview
from qbench.errors import ConfigurationError

from ...support.slide_images import stained, tiled


def test_lengths() -> None:
    assert parse_length("200um", 0.5) == 400
    assert parse_length(" 290 px ", None) == 290
    with pytest.raises(ConfigurationError, match="needs the slide's microns per pixel"):
        parse_length("200µm", None)


def test_otsu_against_a_plain_search() -> None:
    values = np.concatenate(
        [np.random.default_rng(0).normal(40, 8, 500), np.random.default_rng(1).normal(160, 20, 300)]
    )
    values = np.clip(values, 0, 255).astype(np.float32)

    def between(threshold: float) -> float:
        low, high = values[values < threshold], values[values >= threshold]
        return len(low) * len(high) * (np.floor(low).mean() - np.floor(high).mean()) ** 2

    best = max(range(int(values.min()) + 1, int(values.max())), key=between)
    assert between(otsu(values)) == pytest.approx(between(best), rel=1e-3)


def test_shares_of_tissue_are_those_of_the_windows() -> None:
    tissue = np.zeros((10, 20), bool)
    tissue[:, :8] = True
    small = Overview(np.zeros((10, 20, 3), np.uint8), 10.0, tissue)
    shares = small.share(np.array([[40.0, 50], [80, 50], [150, 50], [0, 0]]), 40)
    assert shares.tolist() == [1, 0.5, 0, 0.25]  # the last window lies by three quarters outside


@pytest.mark.slow
def test_a_pyramid_and_its_full_image_have_the_same_tissue(tmp_path: Path) -> None:
    pixels = stained(3200, 2400)
    slide = overview(open_image(tiled(tmp_path / "s.tif", pixels, None)))
    Image.fromarray(pixels).save(tmp_path / "s.png")
    whole = overview(open_image(tmp_path / "s.png"))
    assert (slide.factor, whole.factor) == (4.0, 3.0) or slide.factor <= 4
    assert slide.tissue.mean() == pytest.approx(0.25, abs=0.01)
    assert whole.tissue.mean() == pytest.approx(0.25, abs=0.01)


def test_black_borders_and_dust_are_not_tissue() -> None:
    pixels = stained(400, 400)
    pixels[:40] = 3
    pixels[60:63, 60:63] = (150, 40, 120)
    mask = find_tissue(pixels)
    assert not mask[:38].any()
    assert not mask[55:70, 55:70].any()
    assert mask[150:250, 150:250].all()


@pytest.mark.real
def test_the_grid_on_a_real_section_lies_where_its_spots_were(her2st_dir: Path) -> None:
    section = open_dataset("her2st", her2st_dir, ArrayCache()).load("C4")
    assert section.image is not None
    assert section.pixel_xy is not None
    image = open_image(section.image)
    small = overview(image)
    assert (small.share(section.pixel_xy, 224) >= grids.TISSUE).mean() > 0.95
    points = grid_points(image.size, 200 / section.microns_per_pixel, 224, small)
    assert abs(len(points) / section.n_spots - 1) < 0.1

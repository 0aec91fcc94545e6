"""Do spots and image belong together? The tissue says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qbench.datasets.readers.placement import place_spots
from qbench.datasets.section import Section
from qbench.errors import DataError
from scipy import sparse

WIDTH, HEIGHT = 600, 500


def stained(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """Glass with one piece of tissue, an L in the left and lower part: no turn or mirror image of it is itself."""
    pixels = np.full((HEIGHT, WIDTH, 3), 245, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(-12, 12, (HEIGHT, WIDTH, 1))
    tissue = np.zeros((HEIGHT, WIDTH), dtype=bool)
    tissue[60:460, 40:180] = True
    tissue[330:460, 40:520] = True
    pixels[tissue] = np.clip(np.array([190, 110, 170]) + noise, 0, 255).astype(np.uint8)[tissue]
    Image.fromarray(pixels).resize((width, height)).save(path)
    return path


def on_tissue() -> np.ndarray:
    x, y = np.meshgrid(np.arange(60, WIDTH, 30.0), np.arange(80, HEIGHT, 30.0))
    xy = np.column_stack([x.ravel(), y.ravel()])
    inside = ((xy[:, 0] < 170) & (xy[:, 1] < 450)) | ((xy[:, 1] > 340) & (xy[:, 1] < 450) & (xy[:, 0] < 510))
    return xy[inside]


def section(xy: np.ndarray) -> Section:
    names = tuple(f"s{i}" for i in range(len(xy)))
    return Section("S1", "P1", sparse.csr_matrix(np.ones((len(xy), 1), np.int32)), ("ERBB2",), names, xy / 30, xy)


def test_spots_on_tissue_stay_as_they_are(tmp_path: Path) -> None:
    placed = place_spots(section(on_tissue()), stained(tmp_path / "S1.png"), checked=False)
    assert (placed.pixel_xy == on_tissue()).all()
    assert placed.notes == ()


def test_a_few_spots_outside_are_left_out_and_named(tmp_path: Path) -> None:
    xy = on_tissue()
    xy[[3, 7]] = [[-139, 80], [300, HEIGHT + 1]]
    placed = place_spots(section(xy), stained(tmp_path / "S1.png"), checked=False)
    assert placed.notes == ("2 spots lie outside S1.png and are left out (s3, s7)",)
    kept = np.delete(np.arange(len(xy)), [3, 7])
    assert placed.spots == tuple(f"s{i}" for i in kept)
    assert (placed.pixel_xy == xy[kept]).all()
    assert (placed.array_xy == xy[kept] / 30).all()
    assert placed.counts.shape == (len(kept), 1)


@pytest.mark.parametrize(
    ("turned", "said"),
    [
        (lambda x, y: (y, x), "x, y = y, x"),
        (lambda x, y: (x, HEIGHT - y), "y = 500 - y"),
        (lambda x, y: (WIDTH - x, y), "x = 600 - x"),
        (lambda x, y: (WIDTH - x, HEIGHT - y), "x, y = 600 - x, 500 - y"),
        (lambda x, y: (y, WIDTH - x), "x, y = 600 - y, x"),
        (lambda x, y: (HEIGHT - y, x), "x, y = y, 500 - x"),
        (lambda x, y: (HEIGHT - y, WIDTH - x), "x, y = 600 - y, 500 - x"),
    ],
)
def test_turned_coordinates_are_told_by_the_tissue(tmp_path: Path, turned: object, said: str) -> None:
    x, y = on_tissue().T
    xy = np.column_stack(turned(x, y))
    image = stained(tmp_path / "S1.png")
    with pytest.raises(DataError, match=r"\d+% of its \d+ spots lie on bare glass|outside") as error:
        place_spots(section(xy), image, checked=False)
    assert f"write them as {said}," in str(error.value)
    assert "pixel_scale: 1' if they are right" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("factor", [10.0, 2.0, 0.5, 0.1])
def test_another_resolution_and_the_factor_that_mends_it(tmp_path: Path, factor: float) -> None:
    xy = on_tissue() * factor
    with pytest.raises(DataError, match="pixel_scale: ") as error:
        place_spots(section(xy), stained(tmp_path / "S1.png"), checked=False)
    advised = float(str(error.value).split("'pixel_scale: ")[1].split("'")[0])
    assert advised == pytest.approx(1 / factor, rel=0.08)
    assert place_spots(section(xy / factor), stained(tmp_path / "S1.png"), checked=True).n_spots == len(xy)


def test_no_factor_is_advised_where_none_fits(tmp_path: Path) -> None:
    away = on_tissue() + np.array([2000, 0])
    with pytest.raises(DataError, match=r"outside.*no factor or turn puts them on its tissue") as error:
        place_spots(section(away), stained(tmp_path / "S1.png"), checked=False)
    assert "pixel_scale" not in str(error.value)
    some = on_tissue()
    some[: len(some) * 2 // 5, 0] -= 400
    with pytest.raises(DataError, match=r"outside an image of 600 x 500 pixels \(s0, s1, s2, \.\.\.\)") as error:
        place_spots(section(some), stained(tmp_path / "S1.png"), checked=False)
    assert "pixel_scale" not in str(error.value)


def test_spots_on_glass_that_nothing_mends_are_noted(tmp_path: Path) -> None:
    glass = np.column_stack([np.tile(np.arange(220, 580, 40.0), 3), np.repeat([30.0, 170.0, 300.0], 9)])
    placed = place_spots(section(glass), stained(tmp_path / "S1.png"), checked=False)
    assert placed.n_spots == 27
    assert "lie on bare glass: do coordinates and image belong together?" in placed.notes[0]
    assert place_spots(section(glass), stained(tmp_path / "S1.png"), checked=True).notes == ()


def test_a_biopsy_in_the_corner_of_a_slide(tmp_path: Path) -> None:
    pixels = np.full((2000, 2400, 3), 245, dtype=np.uint8)
    with Image.open(stained(tmp_path / "small.png")) as small:
        pixels[:HEIGHT, :WIDTH] = np.asarray(small)
    Image.fromarray(pixels).save(tmp_path / "S1.png")
    assert place_spots(section(on_tissue()), tmp_path / "S1.png", checked=False).notes == ()


def test_no_spots(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Section S1: expected spots, found none"):
        place_spots(section(np.zeros((0, 2))), None, checked=False)


def test_an_image_in_which_no_tissue_is_seen_tells_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), (200, 150, 190)).save(tmp_path / "S1.png")
    assert place_spots(section(on_tissue()), tmp_path / "S1.png", checked=False).notes == ()
    with pytest.raises(DataError, match=r"all in one corner.*'pixel_scale: 1' if they are right"):
        place_spots(section(on_tissue() / 4), tmp_path / "S1.png", checked=False)

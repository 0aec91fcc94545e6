from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.lattice import lattice
from qbench.datasets.registry import open_dataset
from qbench.datasets.scale import Stated, from_array, settle, statements
from qbench.datasets.section import Section
from qbench.errors import DataError

from ..support.datasets_sections import counts, grid, write_card, write_h5ad

# What Space Ranger 1.0 wrote of the section that scanpy and squidpy test with (scanpy's tests/_data/visium_data/1.0.0).
REAL = {"spot_diameter_fullres": 89.42751063343188, "fiducial_diameter_fullres": 144.45982486939}
# array row and column, pixel row and column of some of its spots, in whole pixels as that table has them
REAL_SPOTS = np.array(
    [
        (0, 0, 2546, 2779), (1, 1, 2666, 2848), (3, 127, 2883, 11517), (4, 12, 3023, 3606), (5, 117, 3124, 10829),
        (6, 50, 3256, 6221), (7, 55, 3374, 6565), (6, 0, 3264, 2781), (4, 104, 3007, 9935),
    ],
    dtype=float,
)  # fmt: skip


def visium(n: int, pixels: float = 137.6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column, row and pixels of some spots of a full Visium array, turned by a degree."""
    row, half = np.divmod(np.random.default_rng(seed).choice(78 * 64, n, replace=False), 64)
    column = 2 * half + row % 2
    angle = np.deg2rad(1.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return column, row, pixels * np.column_stack([column / 2, row * 0.75**0.5]) @ turn + 500


@pytest.mark.parametrize("n", [2, 100, 4235])
def test_few_spots_of_a_visium_array_measure_its_pitch(n: int) -> None:
    column, row, pixel_xy = visium(n)
    found = lattice(column, row, pixel_xy)
    assert found.hexagonal
    assert not found.skewed
    assert found.pixels == pytest.approx(137.6)


def test_a_real_section_of_visium() -> None:
    row, column, y, x = REAL_SPOTS.T
    taken, notes = settle("S1", statements(lattice(column, row, np.column_stack([x, y])), REAL, "S1"))
    assert taken is not None
    assert taken.microns == pytest.approx(0.727, abs=5e-4)
    assert notes == ()


def test_the_real_scale_factors_say_what_the_array_says() -> None:
    # 0.727; 55 microns over the spot's width would be 0.615, over the fiducial's 0.381
    taken, notes = settle("S1", statements(lattice(*visium(100)), REAL, "S1"))
    assert taken is not None
    assert taken.microns == pytest.approx(0.727, abs=5e-4)
    assert notes == ()
    alone, _ = settle("S1", statements(lattice(*visium(1)), REAL, "S1"))
    assert alone is not None
    assert alone.microns == pytest.approx(0.7267, abs=2e-4)


@pytest.mark.parametrize("mirror", [(1, 1), (-1, 1), (1, -1)])
def test_an_array_may_lie_mirrored_or_transposed(mirror: tuple[int, int]) -> None:
    column, row, pixel_xy = visium(50)
    for xy in (pixel_xy * mirror, (pixel_xy * mirror)[:, ::-1]):
        assert lattice(column, row, xy).pixels == pytest.approx(137.6)


def test_a_square_array_is_not_read_as_a_hexagonal_one() -> None:
    column, row = np.array([0, 2, 4, 1, 3, 0]), np.array([0, 0, 0, 1, 1, 2])  # column + row is even, as on a hexagon
    found = lattice(column, row, np.column_stack([column, row]) * 290.0)
    assert not found.hexagonal
    assert (found.xy == np.column_stack([column, row])).all()
    stated = from_array(found)
    assert stated is not None
    assert stated.microns == pytest.approx(200 / 290)
    assert "square array's pitch of 200 microns" in stated.source
    wide = lattice(column * 20, row * 20, np.column_stack([column, row]) * 400.0)
    assert from_array(wide) is None  # no ST array has 80 columns, and nobody states the pitch


def test_bins_have_the_size_that_their_factors_state() -> None:
    column, row = np.arange(12) % 4 * 2, np.arange(12) // 4 * 2  # even sums: every second bin
    factors = {"bin_size_um": 8.0, "microns_per_pixel": 0.4, "spot_diameter_fullres": 20.0}
    found = lattice(column, row, np.column_stack([column, row]) * 20.0, square=True)
    taken, notes = settle("S1", statements(found, factors, "S1"))
    assert taken is not None
    assert (taken.microns, notes) == (pytest.approx(0.4), ())


def test_scale_factors_speak_with_one_voice() -> None:
    column, row = np.arange(1600) % 40, np.arange(1600) // 40
    factors = {"bin_size_um": 8.0, "microns_per_pixel": 0.25, "spot_diameter_fullres": 32.0}  # of the whole image
    half = lattice(column, row, np.column_stack([column, row]) * 16.0, square=True)  # coordinates of one half the size
    taken, notes = settle("S1", statements(half, factors, "S1"))
    assert taken is not None
    assert taken.microns == pytest.approx(0.5)
    assert "microns_per_pixel of the scale factors says 0.25; 0.5 is taken" in notes[0]


def test_one_row_of_spots_and_lost_positions() -> None:
    line = lattice(np.array([0, 2, 4]), np.zeros(3), np.array([[0.0, 5], [100, 5], [200, 5]]))
    assert line.pixels == pytest.approx(100)
    assert lattice(np.array([0]), np.array([0]), np.zeros((1, 2))).pixels is None
    column, row, pixel_xy = visium(40)
    holes = column.astype(float)
    holes[3] = np.nan
    assert lattice(holes, row, pixel_xy).pixels == pytest.approx(137.6)


def test_sources_that_disagree_are_named() -> None:
    array, factor, image = Stated(0.5, "array", "it is measured"), Stated(0.27, "factor"), Stated(0.505, "image")
    assert settle("S1", [array, image]) == (array, ())
    taken, notes = settle("S1", [array, factor])
    assert taken == array
    assert notes == ("microns per pixel: array says 0.5, factor says 0.27; 0.5 is taken, because it is measured",)
    taken, notes = settle("S1", [factor, array, image])
    assert taken == array
    assert notes[0].endswith("factor says 0.27; 0.5 is taken, because 2 of 3 agree on it")
    taken, notes = settle("S1", [Stated(1.0, "first", "it comes from the scanner"), array, factor])
    assert taken is not None
    assert taken.source == "first"
    assert notes[0].endswith("1 is taken, because it comes from the scanner")
    taken, notes = settle("S1", [array, image], Stated(0.25, "the card", "you stated it"))
    assert taken is not None
    assert taken.microns == 0.25
    assert "array says 0.5, image says 0.505" in notes[0]
    assert "because you stated it" in notes[0]


def test_a_width_of_two_meanings_is_read_by_the_other_source() -> None:
    width = Stated(0.65, "width", others=(0.55,))
    assert settle("S1", [width, Stated(0.55, "image")])[0] == Stated(0.55, "width")
    assert settle("S1", [width])[0] == Stated(0.65, "width")


@pytest.mark.parametrize("microns", [0.049, 5.1, float("nan"), float("inf")])
def test_what_is_no_scale_of_tissue_is_refused(microns: float) -> None:
    with pytest.raises(DataError, match=r"S1: expected 0.05 to 5 microns per pixel, but file says"):
        settle("S1", [Stated(microns, "file")])


def test_a_placeholder_for_spots_that_are_none() -> None:
    assert statements(lattice(np.array([0]), np.array([0]), None), {"spot_diameter_fullres": 1.0}, "S1") == ()
    with pytest.raises(DataError, match="S1: expected a number above 0 for spot_diameter_fullres"):
        statements(lattice(np.array([0]), np.array([0]), None), {"spot_diameter_fullres": -3}, "S1")


def load(tmp_path: Path, spatial: np.ndarray, parts: dict[str, Any], **more: object) -> Section:
    write_h5ad(tmp_path / "S1.h5ad", spatial=spatial, **parts)
    card = write_card(tmp_path / "mine.yaml", "h5ad", [{"id": "S1", "patient": "P1", "file": "S1.h5ad", **more}])
    return open_dataset(str(card), None, ArrayCache(tmp_path / "cache")).load("S1")


def test_an_h5ad_of_scanpy_states_its_scale(tmp_path: Path) -> None:
    import pandas as pd

    n = len(counts())
    column, row, pixel_xy = visium(n)
    obs = pd.DataFrame({"array_col": column, "array_row": row}, index=[f"spot{i}" for i in range(n)])
    uns = {"spatial": {"V1": {"scalefactors": REAL, "images": {}}}}
    section = load(tmp_path, pixel_xy, {"obs": obs, "uns": uns})
    assert section.microns_per_pixel == pytest.approx(100 / 137.6)
    assert section.scales[0].source == "the hexagonal array's pitch of 100 microns"
    assert section.notes == ()


def test_a_factor_between_coordinates_and_image_scales_the_microns_too(tmp_path: Path) -> None:
    uns = {"spatial": {"V1": {"scalefactors": {"spot_diameter_fullres": 65.0}}}}
    section = load(tmp_path, grid(), {"uns": uns}, pixel_scale=4)
    assert section.microns_per_pixel == pytest.approx(0.25)
    stated = load(tmp_path, grid(), {"uns": uns}, pixel_scale=4, microns_per_pixel=0.5)
    assert stated.microns_per_pixel == 0.5
    assert "the card says 0.5, spot_diameter_fullres (a spot of 65 or 55 or 100 microns) says 0.25" in stated.notes[0]

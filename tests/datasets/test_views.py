"""Where several views of a spot lie, and what they show."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from qbench.datasets.section import Section
from qbench.datasets.view_pixels import open_views
from qbench.datasets.views import Views, view_windows
from qbench.errors import DataError
from scipy import sparse


def section(folder, centres, size=(60, 50), image=True) -> tuple[Section, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path = folder / "image.png"
    PIL.Image.fromarray(pixels).save(path)
    n = len(centres)
    names = tuple(f"s{i}" for i in range(n))
    made = Section(
        id="A1",
        patient="A",
        counts=sparse.csr_matrix(np.ones((n, 1), dtype=np.int32)),
        genes=("G",),
        spots=names,
        array_xy=np.zeros((n, 2)),
        pixel_xy=np.array(centres, dtype=np.float64),
        image=path if image else None,
        content="x",
    )
    return made, pixels


def test_views_around_a_spot_are_the_windows_beside_its_patch(tmp_path):
    made, pixels = section(tmp_path, [(30, 25), (9, 20)])
    windows, shown = open_views(made, Views(3), 8, None)
    found = list(shown)
    assert len(found) == len(windows.corners)
    for spot, (x, y) in enumerate([(30, 25), (9, 20)]):
        for view in range(9):
            left, top = x - 4 + 8 * (view % 3 - 1), y - 4 + 8 * (view // 3 - 1)
            assert windows.present[spot, view] == (left >= 0)
            if view == 4:
                assert windows.index[spot, view] == -1, "the spot's own patch is not read again"
            elif left >= 0:
                due = pixels[top : top + 8, left : left + 8]
                np.testing.assert_array_equal(found[windows.index[spot, view]], due)
    assert windows.present[0].all()
    assert windows.present[1].sum() == 6


def test_parts_of_a_patch_tile_it_and_repeat_the_border(tmp_path):
    made, pixels = section(tmp_path, [(30, 25), (1, 1)])
    windows, shown = open_views(made, Views(2, inside=True), 8, None)
    assert windows.edge == 4
    assert windows.present.all()
    found = list(shown)
    for view in range(4):
        left, top = 26 + 4 * (view % 2), 21 + 4 * (view // 2)
        small = found[windows.index[0, view]]
        assert small.shape == (8, 8, 3), "as large as a patch, which is what the encoder reads"
        due = PIL.Image.fromarray(pixels[top : top + 4, left : left + 4]).resize((8, 8), PIL.Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(small, np.asarray(due))
    assert (found[windows.index[1, 0]] == pixels[0, 0]).all(), "beyond the border its last pixel is repeated"
    thirds, _ = open_views(made, Views(3, inside=True), 8, None)
    np.testing.assert_array_equal(thirds.corners[thirds.index[0]][[0, 4, 8]], [[27, 22], [29, 24], [31, 26]])


def test_the_same_window_is_listed_once():
    centres = np.array([[100.0, 100], [110, 100], [120, 100]])
    windows = view_windows(Views(5), centres, 10, (300, 300))
    assert windows.index[0, 13] == windows.index[2, 11], "right of the first is left of the third"
    assert len(windows.corners) == 7 * 5, "of 72 views around three spots in a row"
    np.testing.assert_array_equal(windows.corners[windows.index[0, 0]], [75, 75])


def test_what_has_no_surroundings_is_told(tmp_path):
    made, _ = section(tmp_path, [(30, 25)], image=False)
    with pytest.raises(DataError, match="A1: expected the image that its patches are cut from"):
        open_views(made, Views(3), 8, None)
    for grid in (1, 4):
        with pytest.raises(ValueError, match="grid of 2 or more"):
            Views(grid)

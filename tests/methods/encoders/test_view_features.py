"""Features of several views of a spot: what they are of, that nothing is encoded twice, and how a plug-in gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qbench.benchmark.engine.cohorts import seal
from qbench.benchmark.engine.identity import trained_by
from qbench.benchmark.engine.inputs import prepare
from qbench.benchmark.engine.resolve import resolve_method
from qbench.benchmark.settings import RunSettings
from qbench.datasets import views
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import Part
from qbench.datasets.registry import open_dataset
from qbench.datasets.views import Views, ViewWindows, view_windows
from qbench.errors import ConfigurationError, MethodError
from qbench.leaderboard.record import PatchRecord
from qbench.methods.encoders.features import open_view_features
from qbench.methods.encoders.registry import resolve
from qbench.methods.encoders.rgb import encode_rgb
from qbench.methods.method import Inputs

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image

SIZE = 16


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)


def test_each_window_is_encoded_once_and_kept(image: NDArray[np.uint8], tmp_path: Path) -> None:
    centres, around = np.array([[60.0, 60], [76, 60], [10, 60]]), Views(3)
    windows = view_windows(around, centres, SIZE, (120, 120))
    opened, read = [], []

    def pixels() -> tuple[ViewWindows, Iterator[NDArray[np.uint8]]]:
        opened.append(1)

        def shown() -> Iterator[NDArray[np.uint8]]:
            for x, y in windows.corners:
                read.append((x, y))
                yield image[y : y + SIZE, x : x + SIZE]

        return windows, shown()

    own = np.arange(18, dtype=np.float32).reshape(3, 6)
    cache, rgb = ArrayCache(tmp_path), resolve("rgb")
    found = open_view_features(rgb, around, pixels, own, "key", cache)
    assert found.shape == (3, 9, 6)
    np.testing.assert_array_equal(found[:, 4], own)
    for spot, (x, y) in enumerate(centres.astype(int) - SIZE // 2):
        for view in {*range(9)} - {4}:
            left, top = x + SIZE * (view % 3 - 1), y + SIZE * (view // 3 - 1)
            if left < 0:
                assert np.isnan(found[spot, view]).all()
            else:
                due = encode_rgb(image[None, top : top + SIZE, left : left + SIZE])[0]
                np.testing.assert_allclose(found[spot, view], due, rtol=1e-6)
    assert len(read) == len(set(read)) == len(windows.corners)
    again = open_view_features(rgb, around, pixels, own, "key", cache)
    np.testing.assert_array_equal(again, found)
    assert len(opened) == 1
    parts = view_windows(Views(3, inside=True), centres, SIZE, (120, 120))
    assert parts.index.min() == 0, "parts of a patch are never the patch"
    open_view_features(rgb, around, pixels, own, "other patches", cache)
    assert len(opened) == 2


def test_a_plugin_gets_them_in_a_line(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "A1.h5ad", counts(seed=0) + 20, spatial=grid())
    write_image(tmp_path / "A1.png", seed=0)
    entries = [{"id": "A1", "patient": "A", "file": "A1.h5ad", "image": "A1.png"}]
    write_card(tmp_path / "mine.yaml", "h5ad", entries)
    cache = ArrayCache(tmp_path / "cache")
    dataset = open_dataset(str(tmp_path / "mine.yaml"), None, cache)
    section, around, inside = dataset.load("A1"), Views(3), Views(2, inside=True)
    patch = PatchRecord(size=SIZE, microns_per_pixel=None)
    inputs = prepare(dataset, ["A1"], {"": resolve("rgb")}, patch, cache, views={"": (around, inside)})
    sealed = seal(section, Part("A1"), ("G",), inputs)
    values = np.asarray(sealed.views(around))
    assert values.shape == (section.n_spots, 9, 6)
    np.testing.assert_array_equal(values[:, 4], np.asarray(sealed.features()))
    mean = np.asarray(sealed.views(inside))[:, :, :3].mean(axis=1)
    np.testing.assert_allclose(mean, np.asarray(sealed.features())[:, :3], atol=0.05)
    with pytest.raises(MethodError, match="those what the method declares"):
        sealed.views(Views(5))
    with pytest.raises(ConfigurationError, match="Expected the run's encoder beside views"):
        Inputs(views=(around,))


def test_which_views_are_read_is_part_of_what_decides_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def identity(method: str) -> dict[str, object]:
        options, patch = RunSettings(methods=(method,)), PatchRecord(size=224, microns_per_pixel=None)
        return trained_by(resolve_method(method, options, "cpu"), options, patch, "fp32", 0)

    assert "views" not in identity("ridge"), "cells that read no views keep their identity"
    before = identity("triplex")
    assert before["views"] == [{"views": 1, "grid": 5, "inside": False}]
    assert identity("deepspot")["views"] == [{"views": 1, "grid": 3, "inside": True}]
    monkeypatch.setattr(views, "VIEW_VERSION", 2)
    assert identity("triplex") != before

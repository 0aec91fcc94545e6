"""Principal components of frozen features, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.datasets.cohort import RowView
from qbench.methods.reduced import Reduced
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits


def rows(values: np.ndarray) -> RowView:
    return RowView([values], [None])


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 5)) @ rng.normal(size=(5, 20)) + rng.normal(size=(300, 20)) + 3).astype(np.float32)


def test_components_are_those_of_scikit_learn_up_to_sign_and_one_scale(features: np.ndarray):
    reduced = Reduced.fit(rows(features), 4)
    due = PCA(4, svd_solver="full").fit_transform(StandardScaler().fit_transform(features.astype(np.float64)))
    due /= np.sqrt((due**2).mean())
    found = reduced.read(rows(features))
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.abs(found), np.abs(due), rtol=1e-4, atol=1e-4)
    assert reduced.width == 4
    assert (found**2).mean() == pytest.approx(1, rel=1e-4)


def test_views_are_read_as_spots_are_and_missing_ones_are_zero(features: np.ndarray):
    reduced = Reduced.fit(rows(features), 4)
    views = np.stack([features, features[::-1]], axis=1)
    views[7, 1] = np.nan
    found = reduced.read(rows(views))
    np.testing.assert_array_equal(found[:, 0], reduced.read(rows(features)))
    assert not found[7, 1].any()


def test_views_are_read_with_one_thread_to_the_same_numbers(features: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    views, apply, seen = np.stack([features] * 9, axis=1), Reduced.apply, []

    def watched(self: Reduced, values: np.ndarray) -> np.ndarray:
        seen.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return apply(self, values)

    reduced = Reduced.fit(rows(features), 4)
    monkeypatch.setattr(Reduced, "apply", watched)
    with threadpool_limits(2, user_api="blas"):
        found = reduced.read(rows(views))
        due = apply(reduced, views)
    assert set(seen) == {1}
    np.testing.assert_array_equal(found, due)


@pytest.mark.parametrize("components", [0, 20, 50])
def test_without_a_reduction_they_are_z_scores(features: np.ndarray, components: int):
    reduced = Reduced.fit(rows(features), components)
    assert reduced.width == 20
    due = StandardScaler().fit_transform(features.astype(np.float64))
    np.testing.assert_allclose(reduced.read(rows(features)), due, rtol=1e-5, atol=1e-5)


def test_features_that_say_nothing_and_a_state_that_comes_back(features: np.ndarray):
    flat = Reduced.fit(rows(np.ones((10, 6), dtype=np.float32)), 2)
    assert not flat.read(rows(np.ones((10, 6), dtype=np.float32))).any()
    for components in (0, 3):
        reduced = Reduced.fit(rows(features), components)
        state = {**reduced.state(), "other": np.zeros(1)}
        again = Reduced.restore(state)
        assert list(state) == ["other"]
        np.testing.assert_array_equal(again.read(rows(features)), reduced.read(rows(features)))

"""Nearest spots by array position: hand-worked, against brute force, and in sections too small for k."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.datasets.neighbours import below, nearest
from qbench.datasets.target import counts_of

from ..support.method_cohorts import linear_cohort

#  0 1 2
#  3 4 5      9 (far away)
#  6 7 8
TOY = np.array([[x, y] for y in range(3) for x in range(3)] + [[20, 1]], dtype=np.float64)


def test_a_toy_section() -> None:
    found = nearest(TOY, 4, within=2)
    assert found.index[4].tolist() == [3, 1, 7, 5], "equally far: by x, then y"
    assert found.index[0].tolist() == [3, 1, 4, 6], "two at 1, one at the diagonal, of the two at 2 that of the least x"
    assert (found.index[9].tolist(), found.present[9].tolist()) == ([9] * 4, [True, False, False, False])
    assert nearest(TOY, 4).index[9].tolist() == [5, 2, 8, 4], "without a largest distance the far one has neighbours"
    close = nearest(TOY, 4, within=1)
    assert close.present.sum(axis=1).tolist() == [2, 3, 2, 3, 4, 3, 2, 3, 2, 1]
    pairs = {(int(a), int(b)) for a, b in close.edges().T}
    assert {(0, 1), (0, 3), (4, 5), (9, 9)} <= pairs
    assert (0, 4) not in pairs
    values = np.arange(20.0).reshape(10, 2)
    np.testing.assert_allclose(close.mean(values)[[0, 4, 9]], [(values[1] + values[3]) / 2, values[4], values[9]])


@pytest.mark.parametrize("within", [None, 1.5])
def test_brute_force_and_any_order_of_spots_say_the_same(within: float | None) -> None:
    rng = np.random.default_rng(0)
    xy = rng.permutation(np.array([[x, y] for x in range(9) for y in range(7)], dtype=np.float64))[:50]
    found, order = nearest(xy, 5, within), rng.permutation(50)
    for i in range(50):
        others = [j for j in range(50) if j != i]
        ranked = sorted(others, key=lambda j: (np.hypot(*(xy[j] - xy[i])), *xy[j]))[:5]
        due = [j for j in ranked if within is None or np.hypot(*(xy[j] - xy[i])) <= within]
        assert found.index[i][found.present[i]].tolist() == (due or [i])
    shuffled = nearest(xy[order], 5, within)
    np.testing.assert_array_equal(order[shuffled.index], found.index[order])
    np.testing.assert_array_equal(shuffled.present, found.present[order])


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5])
def test_sections_of_k_spots_or_fewer(n: int) -> None:
    found = nearest(TOY[:n], 4)
    assert found.index.shape == (n, max(min(4, n - 1), 1))
    assert found.present.all()
    if n > 1:
        assert not (found.index == np.arange(n)[:, None]).any()


def test_spots_at_one_place_are_each_others_neighbours() -> None:
    found = nearest(np.zeros((3, 2)), 2)
    assert sorted(found.index[0].tolist()) == [1, 2]
    with pytest.raises(ValueError, match="k=0"):
        nearest(TOY, 0)
    with pytest.raises(ValueError, match="finite places"):
        nearest(np.array([[0.0, np.nan]]), 1)


def test_a_cohorts_neighbours_stay_in_their_section() -> None:
    cohort = linear_cohort(0, {"A1": 12, "A2": 2})
    found = cohort.neighbours(3)
    assert found.index.shape == (14, 3)
    assert set(found.index[:12].ravel()) <= set(range(12))
    assert found.index[12:].tolist() == [[13, 12, 12], [12, 13, 13]]
    assert found.present[12:].tolist() == [[True, False, False]] * 2
    assert below([]).index.shape == (0, 1)


@pytest.mark.parametrize("name", ["counts", "proportion"])
def test_the_counts_behind_a_target_are_whole_again(name: str) -> None:
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.poisson(3, (40, 30)), rng.integers(0, 200_000, (10, 30)), np.zeros((1, 30), int)])
    total = counts.sum(axis=1) * 3
    values = counts.astype(np.float64)
    if name == "proportion":
        values = np.divide(1e4 * values, total[:, None], out=np.zeros_like(values), where=total[:, None] > 0)
    target = np.log1p(values).astype(np.float32)
    np.testing.assert_array_equal(counts_of(target, name, total), counts)

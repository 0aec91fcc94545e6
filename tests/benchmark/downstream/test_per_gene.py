import numpy as np
import pytest
from qbench.benchmark.downstream.per_gene import (
    COARSE,
    FINE,
    bands,
    by_scale,
    moran,
    smoother,
    spearman,
    top_overlap,
    touching,
    variance_distance,
)
from qbench.benchmark.scoring.metrics import is_constant
from scipy.stats import spearmanr

from ...support.planted import square

NONE = np.zeros(1, dtype=bool)


def test_spearman_is_scipys_with_ties_and_a_constant_counts_0():
    rng = np.random.default_rng(0)
    truth, prediction = rng.poisson(2, (40, 3)).astype(float), rng.normal(size=(40, 3))
    prediction[:, 2] = 1
    found = spearman(truth, prediction, is_constant(prediction))
    assert found[:2] == pytest.approx([spearmanr(truth[:, i], prediction[:, i])[0] for i in range(2)])
    assert found[2] == 0


def test_the_variance_distance_by_hand():
    truth = np.array([[0.0, 5], [2, 5], [4, 5]])  # variances 8/3 and 0
    prediction = np.array([[1.0, 1], [2, 2], [3, 3]])  # 2/3: a quarter
    found = variance_distance(truth, prediction, is_constant(truth))
    assert found[0] == pytest.approx(0.75**2)
    assert np.isnan(found[1])
    assert variance_distance(truth, truth * 0 + 7, is_constant(truth))[0] == 1
    assert variance_distance(truth, truth, is_constant(truth))[0] == 0


def test_bands_add_up_and_a_wave_stands_in_its_own():
    xy = square(24)
    fine, coarse = smoother(xy, FINE), smoother(xy, COARSE)
    period = {"near": 2.5, "middle": 10.0, "far": 60.0}  # spots
    for name, length in period.items():
        wave = np.sin(2 * np.pi * xy[:, :1] / length)
        parts = bands(wave, fine, coarse)
        assert sum(parts.values()) == pytest.approx(wave)
        assert max(parts, key=lambda part: parts[part].var()) == name


def test_a_smooth_prediction_is_good_far_and_poor_near():
    xy = square(20)
    rng = np.random.default_rng(1)
    fine, coarse = smoother(xy, FINE), smoother(xy, COARSE)
    truth = 3 * (coarse @ rng.normal(size=(400, 6))) + rng.normal(0, 0.3, (400, 6))
    found = by_scale(truth, coarse @ truth, fine, coarse)
    assert found["far"].min() > 0.9
    assert np.abs(found["near"]).max() < 0.35
    same = by_scale(truth, truth, fine, coarse)
    assert [values.min() for values in same.values()] == pytest.approx([1, 1, 1])
    flat = by_scale(truth, truth * 0 + 4, fine, coarse)
    assert {name: values.max() for name, values in flat.items()} == {"near": 0, "middle": 0, "far": 0}


def test_near_sees_what_far_cannot():
    xy = square(20)
    fine, coarse = smoother(xy, FINE), smoother(xy, COARSE)
    truth = np.random.default_rng(2).normal(size=(400, 6)) + xy[:, :1]
    found = by_scale(truth, bands(truth, fine, coarse)["near"] + 0.5 * xy[:, 1:], fine, coarse)
    assert found["near"].min() > 0.95
    assert np.abs(found["far"]).max() < 0.1


def test_permuted_spots_correlate_on_no_scale():
    xy = square(20)
    rng = np.random.default_rng(3)
    fine, coarse = smoother(xy, FINE), smoother(xy, COARSE)
    truth = 3 * (coarse @ rng.normal(size=(400, 60))) + rng.normal(0, 0.3, (400, 60))
    found = by_scale(truth, truth[rng.permutation(400)], fine, coarse)
    # A far band has few independent places: single genes stray, their mean does not.
    assert {name: values.mean() for name, values in found.items()} == pytest.approx(dict.fromkeys(found, 0), abs=0.1)


def test_morans_i_of_a_line_by_hand():
    xy = np.stack([np.arange(4.0), np.zeros(4)], axis=1)
    graph = touching(xy)
    assert graph.toarray().tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    values = np.array([[0.0, 1, 2], [1, 0, 2], [2, 1, 2], [3, 0, 2]])
    # z = -1.5 -.5 .5 1.5: neighbours' products .75 -.25 .75, twice; n / W = 4 / 6; sum z^2 = 5. And -1 for alternation.
    assert moran(values, graph, is_constant(values)) == pytest.approx([4 / 6 * 2.5 / 5, -1, 0])


def test_neighbours_are_eight_on_a_square_and_six_on_a_hexagonal_array():
    flat = square(7)
    assert touching(flat).sum(axis=1).max() == 8
    hexagonal = np.stack([flat[:, 0] + 0.5 * (flat[:, 1] % 2), flat[:, 1] * 3**0.5 / 2], axis=1)
    assert touching(hexagonal).sum(axis=1).max() == 6


def test_top_genes_are_shared_by_name_and_a_constant_is_none_of_them():
    truth = np.array([0.9, 0.8, 0.7, 0.1, 0.0, 0.0])
    none = np.zeros(6, dtype=bool)
    assert top_overlap(truth, truth, none, none, 3) == (1, 1)
    assert top_overlap(truth, truth[::-1], none, none, 2) == (0, 0)
    other = np.array([0.9, 0.0, 0.8, 0.7, 0.0, 0.0])
    assert top_overlap(truth, other, none, none, 3) == (pytest.approx(2 / 3), pytest.approx(2 / 4))
    assert top_overlap(truth, np.zeros(6), none, ~none, 3) == (0, 0)

"""Scores against plain implementations and figures worked out by hand."""

import numpy as np
import pytest
from qbench.benchmark.scoring.metrics import chosen_on_test, entropy, figures, gene_scores
from qbench.datasets.panel import GenePanel
from scipy.stats import pearsonr


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    truth = np.log1p(rng.poisson(4, size=(50, 8))).astype(np.float32)
    prediction = np.clip(truth + rng.normal(0, 0.5, truth.shape), 0, None).astype(np.float32)
    truth[:, 1] = 0.7  # a constant truth
    prediction[:, 2] = 1.0  # a constant prediction
    prediction[:, 3] = np.linspace(0.01, 0.3, 50)  # constant only once rounded
    return truth, prediction, rng.integers(50, 5000, 50)


def test_pcc_and_mse_equal_the_plain_loop(case):
    truth, prediction, depth = case
    scores = gene_scores(truth, prediction, "counts", depth)
    rounded = np.log1p(np.rint(np.expm1(prediction.astype(np.float64))))
    for gene in (0, 4, 5, 6, 7):
        assert scores["pcc"][gene] == pytest.approx(pearsonr(truth[:, gene], rounded[:, gene]).statistic, abs=1e-9)
        assert scores["pcc_unrounded"][gene] == pytest.approx(
            pearsonr(truth[:, gene], prediction[:, gene]).statistic, abs=1e-6
        )
        assert scores["mse"][gene] == pytest.approx(np.mean((truth[:, gene] - rounded[:, gene]) ** 2))


def test_constants_score_zero_and_are_counted_by_side(case):
    truth, prediction, depth = case
    scores = gene_scores(truth, prediction, "counts", depth)
    assert scores["pcc"][[1, 2, 3]].tolist() == [0, 0, 0]
    assert scores["constant_truth"].tolist() == [False, True, *[False] * 6]
    assert scores["constant_prediction"].tolist() == [False, False, True, True, *[False] * 4]
    assert not scores["constant_prediction_unrounded"][3]
    assert scores["pcc_unrounded"][3] != 0


def test_proportion_is_not_rounded(case):
    truth, prediction, depth = case
    scores = gene_scores(truth, prediction, "proportion", depth)
    assert (scores["pcc"] == scores["pcc_unrounded"]).all()
    assert np.isnan(scores["entropy_truth"]).all()


def test_depth_adjustment_removes_what_depth_explains(case):
    _, _, depth = case
    log_depth = np.log1p(depth)
    rng = np.random.default_rng(0)
    own = rng.normal(size=(50, 1))
    truth = (1 + 0.3 * log_depth[:, None] + np.hstack([own, rng.normal(size=(50, 1))])).astype(np.float32)
    prediction = np.hstack([0.5 * log_depth[:, None] + own, 2 + 0.1 * log_depth[:, None]]).astype(np.float32)
    scores = gene_scores(truth, prediction, "proportion", depth)
    assert scores["pcc_depth_adjusted"][0] == pytest.approx(1.0, abs=1e-4)
    assert scores["pcc_depth_adjusted"][1] == 0  # a pure depth predictor has nothing left


def test_entropy_by_hand():
    counts = np.array([[0, 1], [0, 2], [1, 3], [1, 4]])
    assert entropy(counts).tolist() == [1.0, 2.0]
    assert entropy(np.zeros((5, 1), dtype=np.int64)).tolist() == [0.0]


def test_figures_average_over_the_lists(case):
    truth, prediction, depth = case
    genes = tuple("ABCDEFGH")
    panel = GenePanel(genes, 6, ("A", "B"), ("C",), {"g1": ("G",), "g2": ("H", "A")}, (), "s")
    scores = gene_scores(truth, prediction, "counts", depth)
    hvg, heg = chosen_on_test(truth.astype(float), panel.ranked)
    out = figures(scores, panel, frozenset({"A"}), hvg, heg)
    assert out["pcc_hvg"] == pytest.approx(scores["pcc"][:2].mean())
    assert out["pcc_heg"] == 0
    assert out["pcc_all"] == pytest.approx(scores["pcc"][:6].mean())
    assert out["pcc_mg"] == pytest.approx(scores["pcc"][[0, 6, 7]].mean())
    assert out["pcc_mg:g2"] == pytest.approx(scores["pcc"][[0, 7]].mean())
    assert out["mse"] == pytest.approx(scores["mse"][:6].mean())
    assert out["pcc_technical"] == pytest.approx(scores["pcc"][0])
    assert (out["undefined_truth"], out["undefined_prediction"]) == (1, 2)
    varying = [0, 2, 3, 4, 5]
    assert out["sd_ratio"] == pytest.approx(np.median(scores["sd_prediction"][varying] / scores["sd_truth"][varying]))


def test_no_marker_list_gives_an_empty_column(case):
    truth, prediction, depth = case
    panel = GenePanel(tuple("ABCDEFGH"), 8, ("A",), ("A",), {}, (), "s")
    scores = gene_scores(truth, prediction, "counts", depth)
    none = np.zeros(8, dtype=bool)
    assert figures(scores, panel, frozenset(), none, none)["pcc_mg"] is None


def test_choice_on_the_test_section_stays_among_the_ranked():
    values = np.array([[0.0, 0, 9, 0], [1, 4, 0, 2]])
    hvg, heg = chosen_on_test(values, np.array([True, True, False, True]))
    assert not hvg[2]
    assert not heg[2]
    assert hvg.sum() == 3

import numpy as np
import pytest
from qbench.benchmark.downstream.section import know, section_figures

from ...support.planted import planted_truth, rates, square

SETS = {"strong": np.arange(0, 6), "absent": np.array([], dtype=np.intp)}


@pytest.fixture(scope="module")
def planted():
    xy = square()
    quarter = np.where(xy[:, 0] > 6.5, "a", "b").astype(object) + np.where(xy[:, 1] > 6.5, "c", "d")
    quarter[:9] = "undetermined"
    truth = planted_truth(columns=SETS, labels=quarter.astype(str))
    return truth, know(truth)


def test_a_prediction_that_is_the_truth_has_1_everywhere(planted):
    truth, known = planted
    found, genes = section_figures(truth, truth.values, known)
    ones = ["spearman_all", "near_all", "middle_hvg", "far_all", "moran_r", "svg_precision", "svg_jaccard"]
    ones += ["ari_truth", "nmi_truth", "set:strong", "sets", "profile", "profile_centred"]
    assert {name: found[name] for name in ones} == pytest.approx(dict.fromkeys(ones, 1.0))
    assert found["rvd_all"] == 0
    assert found["moran_prediction"] == found["moran_truth"]
    assert (found["set:absent"], found["sets_scored"], found["sets_skipped"]) == (None, 1, 1)
    assert len(genes["moran_truth"]) == 120


def test_a_constant_prediction_knows_the_mean_profile_and_nothing_else(planted):
    truth, known = planted
    found, _ = section_figures(truth, np.broadcast_to(truth.values.mean(axis=0), truth.values.shape), known)
    zeros = ["spearman_all", "near_all", "middle_all", "far_all", "moran_prediction", "moran_r", "svg_precision"]
    zeros += ["svg_jaccard", "ari_truth", "nmi_truth", "ari_labels", "set:strong", "profile_centred"]
    assert {name: found[name] for name in zeros} == dict.fromkeys(zeros, 0)
    assert found["rvd_all"] == 1
    assert found["constant_prediction"] == 120
    assert found["domains_prediction"] == 1
    assert found["profile"] == pytest.approx(found["profile_mean"])
    assert found["profile"] > 0.3


def test_permuted_spots_have_the_right_values_in_the_wrong_places(planted):
    truth, known = planted
    order = np.random.default_rng(0).permutation(len(truth.values))
    found, _ = section_figures(truth, truth.values[order], known)
    near_zero = ["spearman_all", "near_all", "ari_truth", "ari_labels", "sets", "profile_centred"]
    assert {name: found[name] for name in near_zero} == pytest.approx(dict.fromkeys(near_zero, 0), abs=0.12)
    assert found["moran_prediction"] < 0.05 < found["moran_truth"]
    assert found["rvd_all"] == pytest.approx(0)
    assert found["svg_precision"] < 0.65  # 50 of 120 genes: .42 by chance


def test_the_rates_reach_the_ceilings(planted):
    truth, known = planted
    found, _ = section_figures(truth, np.log1p(rates(truth.array_xy)), known)
    for name in ("spearman_hvg", "near_hvg", "far_hvg", "set:strong", "profile_centred"):
        assert found[name] == pytest.approx(known.ceilings[name], abs=0.06)
    assert found["rvd_hvg"] == pytest.approx(known.ceilings["rvd_hvg"], abs=0.03)
    assert found["moran_prediction"] > found["moran_truth"]  # without noise: why a high value says little
    assert known.ceilings["ari_labels"] > 0.8


def test_domains_are_held_against_labels_that_name_a_tissue(planted):
    truth, known = planted
    found, _ = section_figures(truth, truth.values, known)
    assert found["ari_labels"] == known.ceilings["ari_labels"]
    unlabelled = planted_truth(labels=np.array(["cancer"] * 180 + ["undetermined"] * 16))
    found, _ = section_figures(unlabelled, unlabelled.values, known)
    assert (found["ari_labels"], found["nmi_labels"]) == (None, None)  # one label parts nothing
    found, _ = section_figures(planted_truth(), unlabelled.values, known)
    assert found["ari_labels"] is None


def test_a_section_of_few_spots_has_no_figures_of_space():
    truth = planted_truth(edge=5, columns=SETS)
    found, genes = section_figures(truth, truth.values, know(truth))
    assert found["spearman_all"] == pytest.approx(1)
    assert not {"near_all", "moran_truth", "ari_truth", "svg_precision"} & found.keys()
    assert set(genes) == {"spearman", "rvd"}


def test_a_small_panel_has_no_list_of_top_genes():
    truth = planted_truth(60)
    found, _ = section_figures(truth, truth.values, know(truth))
    assert (found["svg_precision"], found["svg_jaccard"]) == (None, None)
    assert found["moran_r"] == pytest.approx(1)

import importlib.util

import numpy as np
import pytest
from qbench.benchmark.downstream.domains import agreement, check_installed, domains, label_codes
from qbench.benchmark.scoring.metrics import is_constant
from qbench.errors import ConfigurationError


def test_tissues_that_differ_are_found_and_always_the_same_way():
    rng = np.random.default_rng(0)
    tissue = np.repeat(np.arange(3), 40)
    values = rng.normal(0, 1, (3, 50))[tissue] * 2 + rng.normal(0, 0.3, (120, 50))
    found = domains(values, is_constant(values))
    assert agreement(tissue, found) == pytest.approx((1, 1))
    assert found.tolist() == domains(values, is_constant(values)).tolist()


def test_a_constant_prediction_is_one_domain_that_agrees_with_nothing():
    values = np.full((40, 5), 2.0)
    found = domains(values, is_constant(values))
    assert set(found.tolist()) == {0}
    assert agreement(np.repeat([0, 1], 20), found) == (0, 0)
    assert agreement(found, found) == (0, 0)


def test_permuted_domains_agree_by_chance():
    rng = np.random.default_rng(1)
    tissue = np.repeat(np.arange(4), 200)
    ari, nmi = agreement(tissue, rng.permutation(tissue))
    assert abs(ari) < 0.02
    assert nmi < 0.02


def test_labels_that_name_no_tissue_are_left_out():
    told, codes = label_codes(np.array(["b", "", "a", "undetermined", "b"]))
    assert told.tolist() == [True, False, True, False, True]
    assert codes.tolist() == [1, 0, 1]


def test_a_missing_igraph_is_one_sentence_with_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"igraph, .* found none; .*qbench-spatial\[downstream\]"):
        check_installed()

"""The panel against a plain numpy implementation of the contract."""

import numpy as np
import pytest
from qbench.datasets.panel import choose_panel
from qbench.datasets.section import Section
from qbench.errors import DataError
from scipy import sparse


def section(name, counts, genes):
    n = len(counts)
    return Section(
        id=name,
        patient=name[0],
        counts=sparse.csr_matrix(np.asarray(counts, dtype=np.int32)),
        genes=tuple(genes),
        spots=tuple(f"{i}x1" for i in range(n)),
        array_xy=np.stack([np.arange(n), np.ones(n)], axis=1).astype(float),
    )


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    genes = [f"G{i:02d}" for i in range(30)]
    scale = rng.gamma(1, 2, size=30)
    first = section("A1", rng.poisson(scale, size=(40, 30)), genes)
    shuffled = [*genes[::-1][:-2], "ONLYB"]  # another order, two genes missing, one more
    second = section("B1", rng.poisson(3, size=(25, 29)), shuffled)
    return first, second


def test_variance_of_log_counts_over_pooled_training_spots(pair):
    first, second = pair
    rows = np.arange(0, 25, 2)
    panel = choose_panel(
        [(first, None), (second, rows)], {"one": ("G05", "NOPE"), "two": ("G29", "G05")}, "src", size=10
    )
    shared = sorted(set(first.genes) & set(second.genes))
    pooled = np.concatenate([np.log1p(first.columns(tuple(shared))), np.log1p(second.columns(tuple(shared)))[rows]])
    expected = [shared[i] for i in np.argsort(-pooled.var(axis=0), kind="stable")[:10]]
    assert list(panel.genes[:10]) == expected
    assert panel.n_ranked == 10
    by_mean = sorted(expected, key=lambda g: -pooled[:, shared.index(g)].mean())
    assert list(panel.heg) == by_mean
    assert panel.missing == ("NOPE",)
    assert panel.mg == ("G05", "G29")
    appended = [g for g in ("G05", "G29") if g not in expected]
    assert list(panel.genes[10:]) == appended


def test_spots_outside_the_training_rows_change_nothing(pair):
    first, second = pair
    rows = np.arange(10)
    before = choose_panel([(first, None), (second, rows)], {}, "s", size=10)
    changed = second.counts.toarray()
    changed[10:] += 1000
    again = choose_panel([(first, None), (section("B1", changed, second.genes), rows)], {}, "s", size=10)
    assert before == again


def test_ties_go_by_symbol():
    counts = np.array([[1, 1, 5], [3, 3, 5]])
    panel = choose_panel([(section("A1", counts, ["Z", "M", "A"]), None)], {}, "s")
    assert panel.genes == ("M", "Z", "A")


def test_no_common_gene_is_an_error():
    with pytest.raises(DataError, match="found none"):
        choose_panel([(section("A1", [[1]], ["X"]), None), (section("B1", [[1]], ["Y"]), None)], {}, "s")

"""The counting-noise ceiling against simulations in which the best possible prediction is known."""

import numpy as np
import pytest
from qbench.errors import DataError
from qbench.leaderboard.ceiling import Ceiling, gene_ceilings, table_ceiling, truth_counts
from qbench.leaderboard.folder import with_ceilings
from qbench.leaderboard.record import find_records
from qbench.leaderboard.render import render
from qbench.leaderboard.stored import StoredPredictions, folders_by_cell, read_predictions
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_runs import GENES, make_runs, make_section


def columns_correlate(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(a.shape[1])]))


@pytest.mark.parametrize("mean", [0.3, 1.0, 3.0, 10.0, 30.0])
def test_the_ceiling_is_the_correlation_of_the_best_prediction_with_counts(mean):
    rng = np.random.default_rng(0)
    rates = mean * np.exp(rng.normal(0, 0.6, (400, 60)) - 0.18)
    counts = rng.poisson(rates)
    best = np.mean([np.log1p(rng.poisson(rates)) for _ in range(100)], axis=0)  # E[log1p c | rate]
    expected = columns_correlate(best, np.log1p(counts))
    assert gene_ceilings(counts, counts.sum(axis=1), "counts").mean() == pytest.approx(expected, abs=0.035)


def test_on_proportions_depth_is_no_longer_part_of_it():
    rng = np.random.default_rng(1)
    depth = np.exp(rng.normal(0, 0.8, (400, 1)))
    rates = np.tile(rng.uniform(20, 40, 40), (400, 1)) * depth  # nothing differs between spots but depth
    counts = rng.poisson(rates)
    library = counts.sum(axis=1) + rng.poisson(4000 * depth[:, 0])
    assert gene_ceilings(counts, library, "counts").mean() > 0.8
    assert gene_ceilings(counts, library, "proportion").mean() < 0.35


def test_noise_alone_has_next_to_no_ceiling_and_a_constant_gene_none():
    counts = np.random.default_rng(2).poisson(3.0, (500, 30))
    counts[:, 0] = 0
    values = gene_ceilings(counts, counts.sum(axis=1), "counts")
    assert values[0] == 0
    assert values.mean() < 0.2


@pytest.mark.parametrize("target", ["counts", "proportion"])
def test_counts_are_recovered_exactly_from_the_stored_truth(tmp_path, target):
    make_runs(tmp_path, {"ridge": 0.5}, target=target)
    [folder, *_] = [path for path, _ in find_records(tmp_path)]
    stored = read_predictions(folder)
    section, _ = make_section("A1", "A", seed=0)
    columns = [GENES.index(gene) for gene in stored.genes]
    expected = section.counts.toarray()[:, columns]
    assert (truth_counts(stored)[stored.sections == "A1"] == expected).all()


def test_a_truth_that_is_no_count_is_refused():
    shape = (2, 1)
    stored = StoredPredictions(
        np.array(["A", "A"]),
        np.array(["A", "A"]),
        np.array([5, 5]),
        ("g",),
        "counts",
        np.zeros(shape, np.float32),
        np.full(shape, np.log1p(1.5), np.float32),
        np.zeros((2, 2)),
        None,
    )
    with pytest.raises(DataError, match="integer counts"):
        truth_counts(stored)


def test_a_table_has_a_ceiling_kept_beside_its_records(tmp_path):
    make_runs(tmp_path, {"ridge": 0.5, "qca": 0.9})
    found = find_records(tmp_path)
    [table] = summarise([record for _, record in found])
    ceiling = table_ceiling(table.rows, folders_by_cell(found))
    assert set(ceiling.by_section["hvg"]) == {"A1", "A2", "B1", "B2"}
    assert 0.5 < ceiling.mean["hvg"] < 1
    mine = np.mean([np.mean([ceiling.by_section["hvg"][f"{p}{i}"] for i in (1, 2)]) for p in "AB"])
    assert ceiling.mean["hvg"] == pytest.approx(mine)
    assert len(list(tmp_path.glob("*/.ceilings/*.npz"))) == 2
    assert table_ceiling(table.rows, folders_by_cell(found)) == ceiling
    text = render(with_ceilings([table], folders_by_cell(found)), "md", detail=True)
    share = table.row("qca").figure("pcc_hvg").mean / ceiling.mean["hvg"]
    assert f"HVG / {ceiling.mean['hvg']:.3f}" in text
    assert f"| {share:.2f} |" in text


def test_a_table_without_predictions_has_none(tmp_path):
    records = make_runs(tmp_path, {"ridge": 0.5})
    assert table_ceiling(summarise(records)[0].rows, {}) is None


def test_the_share_is_a_ratio_of_means():
    assert Ceiling({"hvg": 0.8}, {}, {}).share("hvg", 0.4) == 0.5
    assert Ceiling({}, {}, {}).share("hvg", 0.4) is None

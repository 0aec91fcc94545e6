"""The averages of the contract, worked out by hand, and which records share a row."""

import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_factory import protocol, record, simple


def two_patients(seed: int, shift: float) -> list:
    """Patient A has two sections, B has one; the second seed lies `shift` above."""
    return [
        record("qca", "A", {"A1": {"pcc_hvg": 0.1 + shift}, "A2": {"pcc_hvg": 0.3 + shift}}, seed=seed),
        record("qca", "B", {"B1": {"pcc_hvg": 0.6 + shift}}, seed=seed),
    ]


def test_means_go_over_sections_then_patients_and_spreads_are_kept_apart():
    [table] = summarise([*two_patients(0, 0.0), *two_patients(1, 0.1)])
    [row] = table.rows
    figure = row.figure("pcc_hvg")
    # Patients, seeds averaged: A (.2 + .3)/2 = .25, B (.6 + .7)/2 = .65; seeds, patients averaged: .4 and .5.
    assert figure.mean == pytest.approx(0.45)
    assert figure.sd_patients == pytest.approx(0.4 / 2**0.5)
    assert figure.sd_seeds == pytest.approx(0.1 / 2**0.5)
    assert (row.n_patients, row.n_folds, row.n_seeds, row.failed) == (2, 2, 2, 0)
    assert row.by_patient["pcc_hvg"] == pytest.approx({"A": 0.25, "B": 0.65})
    assert row.by_section["pcc_hvg"] == pytest.approx({"A1": 0.15, "A2": 0.35, "B1": 0.65})


def test_spreads_are_null_below_two():
    [table] = summarise([record("mean", "A", {"A1": {"pcc_hvg": 0.2}})])
    figure = table.rows[0].figure("pcc_hvg")
    assert (figure.mean, figure.sd_patients, figure.sd_seeds) == (0.2, None, None)


def test_a_failed_cell_empties_its_row_and_sinks_it():
    records = [
        *simple("qca", {"A": 0.9}),
        record("qca", "B", failed="the loss was not finite"),
        *simple("mean", {"A": 0.1, "B": 0.1}),
    ]
    [table] = summarise(records)
    assert [row.method for row in table.rows] == ["mean", "qca"]
    last = table.rows[-1]
    assert (last.failed, last.rank, last.figure("pcc_hvg").mean, last.sd_ratio) == (1, None, None, None)


def test_a_row_without_all_folds_is_marked_and_not_ranked():
    [table] = summarise([*simple("qca", {"A": 0.9}), *simple("mean", {"A": 0.1, "B": 0.1})])
    mean, qca = table.rows
    assert (mean.rank, qca.rank, qca.complete) == (1, None, False)
    assert "1 of 2 folds" in qca.status
    assert qca.figure("pcc_hvg").mean == 0.9


def test_a_missing_seed_of_one_fold_is_incomplete_and_left_out_of_the_spread_over_seeds():
    [table] = summarise([*simple("qca", {"A": 0.1, "B": 0.3}), *simple("qca", {"A": 0.2}, seed=1)])
    [row] = table.rows
    assert (row.complete, row.cells_due, len(row.cells)) == (False, 4, 3)
    assert row.figure("pcc_hvg").sd_seeds is None
    assert row.figure("pcc_hvg").mean == pytest.approx((0.15 + 0.3) / 2)


def test_other_settings_never_share_a_row():
    records = [
        *simple("qca", {"A": 0.1}),
        *simple("qca", {"A": 0.2}, settings={"alpha": 0.5}),
        *simple("qca", {"A": 0.3}, encoder="resnet50"),
        *simple("qca", {"A": 0.4}, weights="f" * 64),
        *simple("qca", {"A": 0.5}, select="pcc"),
        *simple("qca", {"A": 0.6}, max_epochs=3),
        *simple("qca", {"A": 0.7}, parameters={"hidden": 64}),
    ]
    [table] = summarise(records)
    assert len(table.rows) == 7
    assert len({row.title for row in table.rows}) == 7
    assert table.rows[0].title == "qca (hidden=64)" or "hidden" in table.rows[0].variant


def test_a_setting_spelled_out_at_its_default_is_the_same_row():
    plain, spelled = record("qca", "A", parameters={"alpha": 0.1}), record("qca", "B", settings={"alpha": 0.1})
    [table] = summarise([plain, spelled])
    assert [row.method for row in table.rows] == ["qca"]


def test_a_tuned_row_is_known_by_its_search_not_by_what_the_folds_chose():
    search = {"space": "configs/sweeps/qca.yaml", "trials": 8}
    records = [
        record(
            "qca",
            p,
            {f"{p}1": {"pcc_hvg": 0.2}},
            parameters={"alpha": a, "beta": 1},
            tuned={"search": search, "chosen": {"alpha": a}},
        )
        for p, a in (("A", 0.1), ("B", 0.5))
    ]
    [table] = summarise([*records, *simple("qca", {"A": 0.2, "B": 0.2}, parameters={"alpha": 0.1, "beta": 1})])
    assert sorted((row.n_folds, bool(row.records[0].tuned)) for row in table.rows) == [(2, False), (2, True)]


def test_a_tuned_row_says_so_and_shows_no_setting_that_differs_by_fold():
    records = [
        record(
            "qca",
            p,
            {f"{p}1": {"pcc_hvg": 0.2}},
            settings={"alpha": a, "beta": 1},
            tuned={"method": "qca[beta=1]", "trials": 8, "search": "f" * 64, "chosen": {"alpha": a}},
        )
        for p, a in (("A", 0.1), ("B", 0.5))
    ]
    [table] = summarise(records)
    assert [(row.title, row.settings, row.n_folds) for row in table.rows] == [
        ("qca[beta=1] tuned (8 trials)", {"beta": 1}, 2)
    ]


def test_random_weights_are_told_beside_the_encoder():
    [table] = summarise(
        [*simple("untrained", {"A": 0.1}, weights="random"), *simple("colour", {"A": 0.1}, encoder=None)]
    )
    assert {row.encoder for row in table.rows} == {"efficientnet_lite0 (random weights)", None}


def test_ranks_follow_pcc_hvg_share_ties_and_pass_over_oracles():
    records = [
        *simple("depth", {"A": 0.9, "B": 0.9}, kind="oracle"),
        *simple("qca", {"A": 0.30001, "B": 0.3}),
        *simple("bleep", {"A": 0.3, "B": 0.3}),
        *simple("ridge", {"A": 0.2, "B": 0.2}),
    ]
    [table] = summarise(records)
    assert [(row.method, row.rank) for row in table.rows] == [("qca", 1), ("bleep", 1), ("ridge", 3), ("depth", None)]


def test_one_table_per_protocol_hash_and_track():
    other = protocol(target="proportion", hash="b" * 64)
    records = [
        *simple("qca", {"A": 0.1}),
        *simple("qca", {"A": 0.1}, profile="paper"),
        *simple("qca", {"A": 0.1}, of=other),
    ]
    tables = summarise(records)
    assert sorted((t.protocol.hash[0], t.track) for t in tables) == [("a", "fast"), ("a", "paper"), ("b", "fast")]
    assert all(t.protocol.hash[:8] in t.title and t.track in t.title for t in tables)


def test_the_leaky_protocol_counts_only_folds_whose_patient_is_in_training():
    leaky = protocol(name="section", hash="c" * 64, held_out="section", leaky=True)
    records = [
        record("qca", "A", {"A1": {"pcc_hvg": 0.2}}, fold="A1", of=leaky, patient_in_training=True),
        record("qca", "A", {"A2": {"pcc_hvg": 0.4}}, fold="A2", of=leaky, patient_in_training=True),
        record("qca", "B", {"B1": {"pcc_hvg": 0.9}}, fold="B1", of=leaky, patient_in_training=False),
    ]
    [table] = summarise(records)
    [row] = table.rows
    assert row.figure("pcc_hvg").mean == pytest.approx(0.3)
    assert (row.n_patients, row.n_folds, row.complete) == (1, 2, True)
    assert table.title.endswith("LEAKY")


def test_numbers_of_pairs_are_summed_over_sections_and_averaged_over_seeds():
    def cell(patient: str, seed: int, n: float):
        return record(
            "qca", patient, {f"{patient}1": {"pcc_hvg": 0.1, "undefined_prediction": n, "sd_ratio": n}}, seed=seed
        )

    [table] = summarise([cell("A", 0, 3), cell("B", 0, 4), cell("A", 1, 5), cell("B", 1, 8)])
    [row] = table.rows
    assert (row.undefined_prediction, row.undefined_truth, row.sd_ratio) == (10.0, None, 5.0)


def test_figures_without_any_value_are_null_and_pooled_ones_take_their_suffix():
    scores = {"A1": {"pcc_mg": None, "pcc_hvg": 0.2}}
    [table] = summarise([record("qca", "A", scores, pooled={"A": {"pcc_hvg": 0.7, "pcc_mg": None}})])
    [row] = table.rows
    assert row.figure("pcc_mg").mean is None
    assert row.figure("pcc_hvg_pooled").mean == 0.7
    assert row.figure("mse_unrounded").mean is None


def test_the_same_cell_twice_is_refused():
    once = record("qca", "A", {"A1": {"pcc_hvg": 0.2}})
    with pytest.raises(ConfigurationError, match="fold A with seed 0"):
        summarise([once, once.model_copy(update={"cell": "other"})])


def test_the_size_is_that_of_fp32_weights():
    [table] = summarise(simple("qca", {"A": 0.1}))
    assert table.rows[0].size_mb == 4.0

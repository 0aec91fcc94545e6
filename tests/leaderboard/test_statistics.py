"""Statistics against plain enumeration, and on simulated eight-patient boards whose truth is known."""

import itertools
import time

import numpy as np
import pytest
from qbench.leaderboard.analysis import analyse, beats_controls, best_control, remark
from qbench.leaderboard.statistics import bootstrap, least_p, max_t, sign_flips, tie_groups, too_few
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_factory import record, simple


def plain_max_t(differences: np.ndarray) -> tuple[list[float], list[float]]:
    """Every sign pattern in a loop, with Student's t itself as the statistic."""

    def t(d: np.ndarray) -> float:
        return abs(d.mean()) / (d.std(ddof=1) / len(d) ** 0.5)

    observed = [t(d) for d in differences]
    patterns = [
        [t(d * np.array(s)) for d in differences] for s in itertools.product([1, -1], repeat=differences.shape[1])
    ]
    own = [np.mean([p[m] >= observed[m] - 1e-9 for p in patterns]) for m in range(len(differences))]
    adjusted = [np.mean([max(p) >= observed[m] - 1e-9 for p in patterns]) for m in range(len(differences))]
    return own, adjusted


def test_sign_flips_equal_enumeration_with_students_t():
    differences = np.random.default_rng(0).normal(0.05, 0.1, (3, 7))
    own, adjusted = max_t(differences)
    expected_own, expected_adjusted = plain_max_t(differences)
    assert own == pytest.approx(expected_own)
    assert adjusted == pytest.approx(expected_adjusted)


def test_the_least_p_is_two_patterns_of_all():
    differences = np.array([[0.1] * 6, [0.0] * 6, [0.1, -0.2, 0.3, -0.1, 0.2, 0.0]])
    own, adjusted = max_t(differences)
    assert own[0] == adjusted[0] == 2 / 2**6 == least_p(6)
    assert own[1] == adjusted[1] == 1.0


def test_many_patients_draw_patterns_that_hold_the_observed_one():
    flips = sign_flips(20)
    assert flips.shape == (2**14, 20)
    assert (flips == 1).all(axis=1).any()
    assert max_t(np.full((1, 20), 0.1))[1][0] == 2 / 2**14


def test_error_rate_and_power_on_simulated_boards():
    """Nine methods against a reference on eight patients; patients differ far more than methods do."""
    rng = np.random.default_rng(1)
    false, found, trials = 0, 0, 400
    for _ in range(trials):
        hard = rng.normal(0.3, 0.15, 8)
        values = hard + rng.normal(0, 0.02, (10, 8))
        false += (max_t(values[1:] - values[0])[1] <= 0.05).any()
        values[1] += 0.06
        found += max_t(values[1:] - values[0])[1][0] <= 0.05
    assert false / trials < 0.07  # .05 said; three standard errors are .033
    assert found / trials > 0.8


def test_intervals_come_from_one_resample_and_ranks_count_from_the_best():
    rng = np.random.default_rng(2)
    hard = rng.normal(0.3, 0.15, 8)
    values = np.stack([hard, hard + 0.1, hard - 0.1])
    result = bootstrap(values, reference=0)
    # The shared patients cancel: the differences are constant although each mean is uncertain.
    assert result.difference == pytest.approx(np.array([[0, 0], [0.1, 0.1], [-0.1, -0.1]]))
    assert result.rank.tolist() == [[2, 2], [1, 1], [3, 3]]
    assert (result.mean[:, 1] - result.mean[:, 0] > 0.1).all()
    assert bootstrap(values, 0, larger_is_better=False).rank.tolist() == [[2, 2], [3, 3], [1, 1]]
    se = hard.std() / 8**0.5
    assert result.mean[0] == pytest.approx([hard.mean() - 1.96 * se, hard.mean() + 1.96 * se], abs=0.02)


def test_coverage_of_the_interval_is_what_the_docs_say():
    rng = np.random.default_rng(3)
    inside = 0
    for i in range(150):
        low, high = bootstrap(rng.normal(0, 1, (1, 8)), None, seed=i).mean[0]
        inside += low <= 0 <= high
    assert 0.80 < inside / 150 < 0.96


def test_tie_groups_split_where_methods_are_told_apart():
    rng = np.random.default_rng(4)
    hard = rng.normal(0.3, 0.1, 8)
    low = hard + rng.normal(0, 0.002, (2, 8))
    high = hard + 0.2 + rng.normal(0, 0.002, (2, 8))
    assert tie_groups(np.concatenate([low, high])) == [2, 2, 1, 1]
    assert tie_groups(hard[None]) == [1]


def test_ten_methods_eight_patients_take_well_under_a_second():
    values = np.random.default_rng(5).normal(size=(10, 8))
    start = time.perf_counter()
    bootstrap(values, 0)
    tie_groups(values)
    assert time.perf_counter() - start < 2


def test_few_patients_get_the_sentence_and_nothing_else():
    assert too_few(2) == "n = 2: nothing can be told apart (least p .50)"
    assert too_few(1) == "n = 1: nothing can be told apart (least p 1.00)"
    assert too_few(5) == "n = 5: nothing can be told apart (least p .06)"
    assert too_few(6) == ""
    records = [*simple("qca", {"A": 0.3, "B": 0.5}), *simple("ridge", {"A": 0.1, "B": 0.2})]
    [table] = summarise(records)
    finding = table.analysis.of(table.rows[0])
    assert table.analysis.sentence == too_few(2)
    assert finding.difference == pytest.approx(0.25)
    assert finding.difference_by_patient == pytest.approx({"A": 0.2, "B": 0.3})
    assert (finding.interval, finding.rank_interval, finding.p_adjusted, finding.tie_group) == (None,) * 4


def eight(method: str, shift: float, noise: int, **more) -> list:
    rng = np.random.default_rng(noise)
    return simple(method, {p: 0.2 + 0.05 * i + shift + rng.normal(0, 0.01) for i, p in enumerate("ABCDEFGH")}, **more)


def test_a_table_of_eight_patients_is_compared_with_its_reference():
    [table] = summarise([*eight("qca", 0.1, 1), *eight("ridge", 0.0, 2), *eight("depth", 0.4, 3, kind="oracle")])
    qca, ridge = table.row("qca"), table.row("ridge")
    finding = table.analysis.of(qca)
    assert table.analysis.sentence == ""
    assert finding.p_adjusted == 2 / 2**8
    assert finding.difference_interval[0] > 0.05
    assert (finding.tie_group, table.analysis.of(ridge).tie_group) == (1, 2)
    assert table.analysis.of(ridge).p_adjusted is None
    assert table.analysis.of(table.row("depth")).interval is None


def test_rows_that_cannot_be_paired_stay_out_of_the_family():
    records = [
        *eight("qca", 0.1, 1),
        *eight("ridge", 0.0, 2),
        *simple("bleep", {"A": 0.9}),
        record("mean", failed="no"),
    ]
    [table] = summarise(records)
    assert {row.method for row in table.rows if row.key in table.analysis.findings} == {"qca", "ridge"}


def test_a_missing_reference_is_said():
    [table] = summarise(eight("qca", 0.1, 1))
    assert "no complete row 'ridge'" in table.analysis.sentence
    assert table.analysis.of(table.rows[0]).interval is not None
    assert analyse(table.rows, "qca").reference == "qca"


def test_errors_rank_the_other_way_round():
    records = [
        *simple("a", dict.fromkeys("ABCDEFGH", 0.1), mse=1.0),
        *simple("ridge", dict.fromkeys("ABCDEFGH", 0.1), mse=2.0),
    ]
    [table] = summarise(records)
    analysis = analyse(table.rows, figure="mse")
    assert analysis.of(table.row("a")).rank_interval == (1, 1)


def test_a_method_below_the_best_control_is_marked():
    records = [
        *simple("qca", {"A": 0.3}),
        *simple("bleep", {"A": 0.5}),
        *simple("ridge", {"A": 0.2}, kind="control"),
        *simple("colour", {"A": 0.4}, kind="control"),
        *simple("depth", {"A": 0.9}, kind="oracle"),
    ]
    [table] = summarise(records)
    assert best_control(table.rows).method == "colour"
    marks = {row.method: beats_controls(row, table.rows) for row in table.rows}
    assert marks == {"qca": False, "bleep": True, "ridge": None, "colour": None, "depth": None}
    assert remark(table.row("qca"), table.rows) == "not better than colour"
    assert remark(table.row("bleep"), table.rows) == ""


def test_a_remark_tells_of_a_term_without_effect_and_in_how_many_cells():
    warned = record(
        "qca", "A", {"A1": {"pcc_hvg": 0.1}}, warnings=("alignment without effect: its gradient is 0.20 %",)
    )
    cells = [warned, record("qca", "B", {"B1": {"pcc_hvg": 0.1}}), *simple("colour", {"A": 0.3, "B": 0.3})]
    [table] = summarise(cells)
    assert remark(table.row("qca"), table.rows) == ("alignment without effect in 1 of 2 cells; not better than colour")

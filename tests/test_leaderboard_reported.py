"""Reported figures are data with a source; verdicts speak of direction only."""

import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.reported import FIGURES, fitting, read_reported, verdicts
from qbench.leaderboard.summarise import summarise

from .leaderboard_factory import protocol, simple

# As printed in the paper: (method, MSE, MG, HVG, HEG).
TABLE_1 = {
    "stnet": (0.133, 0.137, 0.299),
    "histogene": (0.138, 0.151, 0.266),
    "bleep": (0.138, 0.128, 0.253),
    "qca": (0.168, 0.207, 0.340),
}


def test_the_shipped_tables_name_their_source_and_that_folds_are_unstated():
    reported = read_reported()
    assert [r.name for r in reported] == ["qca-table1", "qca-table2", "qca-table3"]
    assert all("folds unstated" in r.protocol and r.url.startswith("https://") for r in reported)
    first = {
        row.method: tuple(value[0] for value in (row.pcc_mg, row.pcc_hvg, row.pcc_heg)) for row in reported[0].rows
    }
    assert first == TABLE_1


def test_every_claim_follows_from_the_papers_own_figures():
    for reported in read_reported():
        rows = {row.method: row for row in reported.rows}
        for claim in reported.claims:
            for figure in claim.figures:
                assert figure in FIGURES
                better, worse = getattr(rows[claim.better], figure)[0], getattr(rows[claim.than], figure)[0]
                assert (better < worse) if figure == "mse" else (better > worse)


def test_verdicts_count_patients_and_never_say_reproduced():
    records = [
        *simple("qca", {"A": 0.3, "B": 0.2}, mse=1.0),
        *simple("bleep", {"A": 0.1, "B": 0.25}, mse=2.0),
        *simple("qca", {"A": 0.1, "B": 0.1}, settings={"quantizer": "none"}, mse=0.5),
    ]
    [table] = summarise(records)
    one, two, _ = read_reported()
    found = {(v.claim.than, v.figure): v for v in verdicts(table, one)}
    assert found["bleep", "pcc_hvg"].gap == pytest.approx(0.075)
    assert (found["bleep", "pcc_hvg"].agree, found["bleep", "pcc_hvg"].patients) == (1, 2)
    assert found["stnet", "pcc_hvg"].gap is None
    text = " ".join(v.text for v in found.values())
    assert "same direction on 2 patients" in text
    assert "not measured" in text
    assert "reproduced" not in text
    errors = {(v.claim.than, v.figure): v for v in verdicts(table, two)}
    assert errors["qca[quantizer=none]", "mse"].gap == pytest.approx(-0.5)
    assert "opposite direction" in errors["qca[quantizer=none]", "mse"].text


def test_they_stand_only_beside_the_same_dataset_and_target_without_a_leak():
    reported = read_reported()
    for changes, n in (({}, 3), ({"target": "proportion"}, 0), ({"dataset": "other"}, 0), ({"leaky": True}, 0)):
        [table] = summarise(simple("qca", {"A": 0.1}, of=protocol(**changes), patient_in_training=True))
        assert len(fitting(table, reported)) == n


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\n")
    with pytest.raises(ConfigurationError, match=r"x\.yaml"):
        read_reported(tmp_path)

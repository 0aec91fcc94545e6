"""Ablations: the paper's rows under each reading, and verdicts that speak of direction only."""

from __future__ import annotations

from pathlib import Path

import pytest
from qbench.benchmark.sweep.ablation import (
    Ablated,
    AblatedTable,
    Block,
    Reading,
    as_dict,
    as_markdown,
    note,
    read_ablation,
    read_as,
    reported_as,
)
from qbench.errors import ConfigurationError
from qbench.leaderboard.reported import read_reported, verdicts
from qbench.leaderboard.summarise import summarise

from ...support.leaderboard_factory import protocol, simple

SUM = Reading(name="l1_reduction=sum", settings={"l1_reduction": "sum"}, unless={"beta": 0})


def part(table: str) -> AblatedTable:
    return next(part for part in read_ablation("qca").tables if part.table == table)


def test_table_2_has_the_papers_rows_and_the_bottleneck_that_it_lacks():
    table = next(r for r in read_reported() if r.name == "qca-table2")
    shown = reported_as(table, Reading(), part("qca-table2").also, "fast")
    assert [row.method for row in shown.rows] == [
        "qca[alignment=none]",
        "qca[alignment=identical]",
        "qca[quantizer=none]",
        "qca",
        "qca[quantizer=bottleneck]",
    ]
    assert shown.rows[-1].mse is None


def test_table_3_is_measured_under_both_readings_of_the_l1_term():
    table = next(r for r in read_reported() if r.name == "qca-table3")
    readings = part("qca-table3").readings
    assert [reading.settings["l1_reduction"] for reading in readings] == ["gene_mean", "sum"]
    labels = [[row.method for row in reported_as(table, reading, (), "fast").rows] for reading in readings]
    assert labels[0] == ["qca[beta=0]", "qca[alpha=0.5]", "qca[alpha=0.9]", "qca"]
    assert labels[1] == [
        "qca[beta=0]",  # no L1 term, so no reading of it
        "qca[alpha=0.5,l1_reduction=sum]",
        "qca[alpha=0.9,l1_reduction=sum]",
        "qca[l1_reduction=sum]",
    ]


def test_a_row_keeps_its_own_settings_under_a_reading():
    assert read_as("qca[alpha=0.5]", SUM, "fast") == "qca[alpha=0.5,l1_reduction=sum]"
    assert read_as("qca[beta=0]", SUM, "fast") == "qca[beta=0]"


def test_a_method_without_an_ablation_is_refused():
    with pytest.raises(ConfigurationError, match=r"There is no ablation named 'bleep'. Known: qca"):
        read_ablation("bleep")


def ablated(patients: str, simulated: bool = False) -> Ablated:
    """Table 2 with `none` always .1 below the full method, `identical` above it on the first patient alone."""
    of = protocol(simulated=simulated)
    records = [
        *simple("qca", dict.fromkeys(patients, 0.3), of=of),
        *simple("qca", dict.fromkeys(patients, 0.2), of=of, settings={"alignment": "none"}),
        *simple(
            "qca", {p: 0.5 if p == patients[0] else 0.1 for p in patients}, of=of, settings={"alignment": "identical"}
        ),
        *simple("qca", dict.fromkeys(patients, 0.3), of=of, settings={"quantizer": "none"}),
    ]
    (table,) = summarise(records)
    reported = next(r for r in read_reported() if r.name == "qca-table2")
    rows = {row.method: row for row in table.rows}
    block = Block(
        reported, Reading(), {r.method: rows[r.method] for r in reported.rows}, tuple(verdicts(table, reported))
    )
    return Ablated(Path("unused"), table, (block,), tuple(records))


def test_the_report_puts_both_side_by_side_and_gives_directions():
    text = as_markdown(ablated("ABCDEFGH"))
    assert "| no alignment | `qca[alignment=none]` |" in text
    assert "0.124 ± 0.015" in text
    assert (
        "qca better than qca[alignment=none] on pcc_hvg: same direction on 8 patients (mean gap +0.100, 8 of 8 agree)"
        in text
    )
    assert (
        "qca better than qca[alignment=identical] on pcc_hvg: same direction on 8 patients (mean gap +0.150, 7 of 8 agree)"
        in text
    )
    assert "qca better than qca[quantizer=none] on pcc_hvg: no difference on 8 patients" in text
    assert "reproduced" not in text
    assert "folds are unstated" in text


def test_the_json_names_gaps_and_patients():
    told = as_dict(ablated("ABCDEFGH"))
    verdict = next(
        v for v in told["blocks"][0]["verdicts"] if v["than"] == "qca[alignment=none]" and v["figure"] == "pcc_hvg"
    )
    assert verdict["gap"] == pytest.approx(0.1)
    assert (verdict["agree"], verdict["patients"]) == (8, 8)


def test_few_patients_and_simulated_data_are_said():
    assert "n = 2: nothing can be told apart (least p .50)." in note(ablated("AB").table)
    assert "simulated" in note(ablated("ABCDEFGH", simulated=True).table)
    assert "nothing can be told apart" not in note(ablated("ABCDEFGH").table)

"""Reported figures are data with a source; verdicts speak of direction only."""

import io

import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.page_data import table_data
from qbench.leaderboard.render import render
from qbench.leaderboard.reported import _FOLDER as FOLDER
from qbench.leaderboard.reported import FIGURES, NAMES, fitting, heading, read_reported, verdicts
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.terminal import print_tables
from rich.console import Console

from ..support.leaderboard_factory import protocol, simple

# As printed in the paper: (method, MSE, MG, HVG, HEG).
TABLE_1 = {
    "stnet": (0.133, 0.137, 0.299),
    "histogene": (0.138, 0.151, 0.266),
    "bleep": (0.138, 0.128, 0.253),
    "qca": (0.168, 0.207, 0.340),
}


OTHERS = {
    "bleep-table1": {
        "stnet": {"pcc_mg": (0.099, 0.020), "pcc_heg": (0.126, 0.005), "pcc_hvg": (0.091, 0.007)},
        "histogene": {"pcc_mg": (0.097, 0.015), "pcc_heg": (0.072, 0.018), "pcc_hvg": (0.071, 0.011)},
        "bleep": {"pcc_mg": (0.217, 0.002), "pcc_heg": (0.175, 0.016), "pcc_hvg": (0.173, 0.011)},
    },
    "gene-dml-table1": {
        "stnet": {"pcc_all": (0.194, None), "mse": (0.260, None)},
        "histogene": {"pcc_all": (0.168, None), "mse": (0.314, None)},
        "bleep": {"pcc_all": (0.151, None), "mse": (0.277, None)},
    },
    "histogene-sections": {"histogene": {"pcc_all": (0.0818, None)}},
    "hist2st-sections": {"hist2st": {"pcc_all": (0.2888, None)}},
    "stnet-cohort": {},
    "triplex-cohorts": {},
    "deepspot-cohorts": {},
    "xfuse-sections": {},
    "thitogene-sections": {},
    "istar-sections": {},
    "hest-bench": {},
}
TASKS = "hest-bench-tasks"  # beside its own datasets alone


def named(name):
    return next(r for r in read_reported() if r.name == name)


def test_the_shipped_tables_name_their_source_protocol_and_how_sure_they_are():
    reported = read_reported()
    assert {r.name for r in reported} == {*OTHERS, TASKS, "qca-table1", "qca-table2", "qca-table3"}
    for each in reported:
        assert each.url.startswith("https://")
        assert all((each.source, each.dataset, each.target, each.protocol, each.genes, each.metric, each.sure))
        qca = each.name.startswith("qca")
        assert ("folds unstated" in each.protocol) == qca
        assert (each.sure == "read in the paper") == qca
        # Nobody here read those papers: what was not read says so.
        assert qca or "second-hand" in each.sure or "quote" in each.sure
    first = {
        row.method: tuple(value[0] for value in (row.pcc_mg, row.pcc_hvg, row.pcc_heg))
        for row in named("qca-table1").rows
    }
    assert first == TABLE_1


@pytest.mark.parametrize("name", OTHERS)
def test_earlier_methods_have_the_figures_of_their_source(name):
    each = named(name)
    found = {row.method: {f: getattr(row, f) for f in NAMES if getattr(row, f) is not None} for row in each.rows}
    assert found == OTHERS[name]
    assert each.claims == ()  # another protocol supports no verdict on our patients


def test_other_protocols_stand_below_with_what_is_other_and_never_among_the_rows():
    [table] = summarise([*simple("stnet", {"A": 0.3, "B": 0.2}), *simple("qca", {"A": 0.1, "B": 0.1})])
    text = render([table], "md", detail=True)
    parts = text.split("### ")
    headings = [part.splitlines()[0] for part in parts if part.startswith("Reported")]
    assert headings[0] == "Reported, not measured: QCA, Table 1: against earlier methods"
    assert [h.startswith("Reported, other protocol: ") for h in headings] == [False] * 3 + [True] * len(OTHERS)
    [bleep] = [part for part in parts if part.startswith("Reported, other protocol: BLEEP")]
    assert "(dataset: human liver, Visium (GSE240429); target: counts per median total" in bleep
    assert "| BLEEP | – | 0.217 ± 0.002 | 0.173 ± 0.011 | 0.175 ± 0.016 |" in bleep
    [dml] = [part for part in parts if part.startswith("Reported, other protocol: Gene-DML")]
    assert "| BLEEP | – | 0.151 | 0.277 |" in dml
    [own] = [part for part in parts if part.startswith("Reported, other protocol: ST-Net")]
    assert "* 102 of the 250 genes" in own
    assert "Method |" not in own
    console = Console(width=160, record=True, file=io.StringIO())
    print_tables([table], console, detail=True)
    shown = console.export_text()
    assert "Reported, other protocol: BLEEP, Table 1" in shown
    assert "0.217 ± 0.002" in shown
    assert [row.method for row in table.rows] == ["stnet", "qca"]
    data = table_data(table, {}, read_reported())["reported"]
    assert [r["other"] for r in data] == [False] * 3 + [True] * len(OTHERS)
    assert data[3]["figures"] == ["pcc_mg", "pcc_hvg", "pcc_heg"]


def test_a_plain_table_shows_no_reported_figure():
    assert "eported" not in render(summarise(simple("stnet", {"A": 0.3})), "md")


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
    one, two = named("qca-table1"), named("qca-table2")
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
    every = len(reported) - 1  # QCA's three are of counts, the others of other targets
    for changes, n in (
        ({}, every),
        ({"target": "proportion"}, every - 3),
        ({"dataset": "other"}, 0),
        ({"leaky": True}, 0),
    ):
        [table] = summarise(simple("qca", {"A": 0.1}, of=protocol(**changes), patient_in_training=True))
        assert len(fitting(table, reported)) == n


def test_a_benchmark_s_table_stands_beside_each_of_its_tasks_with_that_task_s_figures():
    each = named(TASKS)
    assert len(each.rows) == 26
    for row in each.rows:  # the means were printed too: what was copied is what was printed
        assert sum(row.hest_by_task) / len(each.tasks) == pytest.approx(row.hest_mean, abs=1e-4)
    by_task = {}
    for task in each.tasks:
        [table] = summarise(
            simple("pca-ridge", {"A": 0.1}, of=protocol(name="hest-bench", dataset=task, held_out="splits"))
        )
        [shown] = fitting(table, read_reported())
        assert heading(table, shown) == "Reported, not measured: HEST-bench: PCA and ridge below 26 encoders"
        assert shown.figures == ("hest",)
        by_task[task] = {row.label: row.hest[0] for row in shown.rows}
    assert by_task["hest-bench-IDC"]["UNI2-h"] == 0.5898
    assert by_task["hest-bench-LYMPH_IDC"]["ResNet-50 layer3"] == 0.2305
    assert max(by_task["hest-bench-SKCM"], key=by_task["hest-bench-SKCM"].get) == "GenBio-PathFM"
    [ours] = summarise(simple("pca-ridge", {"A": 0.1}, of=protocol(dataset="hest-bench-IDC")))
    assert heading(ours, fitting(ours, read_reported())[0]).endswith("(protocol: hest-bench)")


def test_a_row_that_lacks_a_task_is_refused(tmp_path):
    text = next(path for path in FOLDER.glob("*.yaml") if path.stem == "hest_bench_tasks").read_text()
    (tmp_path / "x.yaml").write_text(text.replace(".5779, .2774]", ".5779]"))
    with pytest.raises(ConfigurationError, match="a figure for each of the 9 tasks"):
        read_reported(tmp_path)


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\n")
    with pytest.raises(ConfigurationError, match=r"x\.yaml"):
        read_reported(tmp_path)

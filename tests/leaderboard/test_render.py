"""The text formats: the contract's keys, escaping, and what the titles must say."""

import csv
import io
import json

import pytest
from qbench.leaderboard.render import render
from qbench.leaderboard.row import STANDARD
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.terminal import print_tables
from rich.console import Console

from ..support.leaderboard_factory import protocol, record, simple


@pytest.fixture
def tables():
    leaky = protocol(name="section", hash="c" * 64, leaky=True, simulated=True, dataset="demo")
    return summarise(
        [
            *simple("qca", {"A": 0.25, "B": 0.35}, settings={"alpha": 0.5}),
            *simple("mean", {"A": 0.0, "B": 0.0}, encoder=None),
            record("bleep", "A", failed="a | b <b>`x`"),
            *simple("ridge", {"A": 0.1}, of=leaky, patient_in_training=True),
        ]
    )


def test_json_has_the_contracts_keys(tables):
    data = json.loads(render(tables, "json"))
    assert data["schema"] == 1
    assert {"protocol", "protocol_hash", "track", "dataset", "simulated", "rows"} <= data["tables"][0].keys()
    row = data["tables"][0]["rows"][0]
    due = {"method", "profile", "encoder", "settings", "n_patients", "n_folds", "n_seeds", "failed", "n_parameters"}
    due |= {
        "size_mb",
        "fit_seconds",
        "peak_memory_mb",
        "undefined_truth",
        "undefined_prediction",
        "sd_ratio",
        *STANDARD,
    }
    assert due <= row.keys()
    assert row["settings"] == {"alpha": 0.5}
    assert row["pcc_hvg"]["mean"] == pytest.approx(0.3)
    assert set(row["pcc_hvg"]) == {"mean", "sd_patients", "sd_seeds"}
    assert row["pcc_hvg"]["sd_seeds"] is None


def test_csv_has_a_line_a_row_and_empty_cells_for_what_is_absent(tables):
    lines = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    assert [line["method"] for line in lines] == ["qca[alpha=0.5]", "mean", "bleep", "ridge"]
    assert float(lines[0]["pcc_hvg"]) == pytest.approx(0.3)
    assert (lines[2]["pcc_hvg"], lines[2]["failed"], lines[0]["settings"]) == ("", "1", "alpha=0.5")


def test_markdown_names_the_protocol_and_escapes_what_would_break_a_cell(tables):
    text = render(tables, "md")
    first, second = [line for line in text.splitlines() if line.startswith("## ")]
    assert first == "## Protocol patient (aaaaaaaa) · dataset her2st · target counts · track fast"
    assert second.endswith("track fast · LEAKY · SIMULATED")
    assert "0.300 (0.071; –)" in text
    assert "a \\| b &lt;b&gt;'x'" in text
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in grid[:5]}) == 1


def test_detail_adds_blocks_only_for_figures_that_are_there():
    scores = {"A1": {"pcc_hvg": 0.2, "pcc_hvg_unrounded": 0.3, "pcc_mg:immune": 0.4}}
    tables = summarise([record("qca", "A", scores)])
    text = render(tables, "md", detail=True)
    assert "### Unrounded predictions" in text
    assert "| immune |" in text
    assert "Technical genes" not in text
    assert "### " not in render(tables, "md")


def test_detail_puts_reported_figures_in_a_block_of_their_own(tables):
    text = render(tables[1:] if tables[0].protocol.leaky else tables[:1], "md", detail=True)
    assert "### Reported, not measured: QCA, Table 1" in text
    assert "folds unstated" in text
    assert "| QCA | 133 | 0.168 ± 0.003 | 0.207 ± 0.015 | 0.340 ± 0.025 |" in text


def test_latex_escapes(tables):
    text = render(tables, "latex")
    assert text.count(r"\begin{tabular}") == 2
    assert r"efficientnet\_lite0" in text
    assert r"1 of 2 cells failed" in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_labels_with_brackets_as_they_are(tables, width):
    console = Console(width=width, record=True, file=io.StringIO())
    print_tables(tables, console)
    text = console.export_text()
    assert "alpha=0.5" in text.replace("\n", "")
    assert "0.300" in text
    assert "fold A, seed 0: MethodError: a | b <b>`x`" in text


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_says_where_weights_are_random(width):
    console = Console(width=width, record=True, file=io.StringIO())
    print_tables(summarise([*simple("qca", {"A": 0.2}, weights="random"), *simple("ridge", {"A": 0.1})]), console)
    assert console.export_text().replace("\n", " ").count("random") == 1


def test_no_records_is_said():
    assert render([], "md") == "No results yet.\n"
    assert json.loads(render([], "json")) == {"schema": 1, "tables": []}
    assert render([], "csv").strip() == ""

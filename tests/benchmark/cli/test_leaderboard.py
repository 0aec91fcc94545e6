"""`leaderboard` and `figures` on the command line: what is asked for is shown or refused, and JSON carries the ceiling."""

import json
import shutil

import pytest
from qbench.benchmark.cli.entry import app
from qbench.leaderboard.ceiling import table_ceiling
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell
from qbench.leaderboard.summarise import summarise
from typer.testing import CliRunner

from ...support.leaderboard_runs import make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands") / "runs"
    make_runs(folder, {"qca": 0.8, "ridge": 0.5})
    return folder


@pytest.fixture(scope="module")
def bare(runs, tmp_path_factory):
    """Records alone, as they are committed."""
    folder = tmp_path_factory.mktemp("bare") / "records"
    for path in runs.glob("*/*/record.json"):
        target = folder / path.relative_to(runs)
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    return folder


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    told = result.output if result.exception is None or isinstance(result.exception, SystemExit) else result.exception
    assert getattr(result.exception, "exit_code", result.exit_code) == code, told
    return str(told)


def test_json_carries_the_ceiling_of_each_list(runs):
    found = find_records(runs)
    [table] = summarise([record for _, record in found])
    expected = table_ceiling(table.rows, folders_by_cell(found)).mean
    [told] = json.loads(call("leaderboard", runs, "--json"))["tables"]
    assert set(told["ceiling"]) == {"mg", "hvg", "heg", "all"}
    assert told["ceiling"] == pytest.approx(dict(expected))
    assert 0.5 < told["ceiling"]["hvg"] < 1


def test_records_without_predictions_have_no_ceiling_and_still_a_page(bare, tmp_path):
    assert [t["ceiling"] for t in json.loads(call("leaderboard", bare, "--json"))["tables"]] == [None]
    assert "qca" in call("leaderboard", bare, "--format", "md", "--detail")
    call("leaderboard", bare, "--output", tmp_path / "board.html")
    assert (tmp_path / "board.html").stat().st_size > 50_000


def test_a_ceiling_over_some_of_the_folds_is_none(runs, tmp_path):
    part = tmp_path / "runs"
    shutil.copytree(runs, part)
    for folder in part.glob("*/*-B-seed0"):
        for path in folder.iterdir():
            if path.name != "record.json":
                path.unlink()
    assert [t["ceiling"] for t in json.loads(call("leaderboard", part, "--json"))["tables"]] == [None]


def test_an_unknown_gene_is_refused_by_the_page_and_the_figures(runs, tmp_path):
    for command in (["leaderboard", runs, "--output", tmp_path / "b.html"], ["figures", runs, "--to", tmp_path / "f"]):
        said = call(*command, "--genes", "FTH1,ERBB", code=2)
        assert "There is no gene in the panels named 'ERBB'. Did you mean 'ERBB2'?" in said
    assert not list(tmp_path.iterdir())
    call("leaderboard", runs, "--output", tmp_path / "b.html", "--genes", "FTH1,ERBB2")
    assert "FTH1" in (tmp_path / "b.html").read_text()


def test_genes_without_the_page_or_without_predictions_are_refused(runs, bare, tmp_path):
    assert "--format html" in call("leaderboard", runs, "--genes", "ERBB2", code=2)
    assert "stored predictions" in call("leaderboard", bare, "-o", tmp_path / "b.html", "--genes", "ERBB2", code=2)


def test_an_unknown_format_is_refused_before_anything_is_read(tmp_path):
    assert "Did you mean 'html'" in call("leaderboard", tmp_path / "none", "--format", "htm", code=2)


def test_figures_takes_rows_by_name(runs, tmp_path):
    said = call("figures", runs, "--methods", "ridge,qcaa", "--to", tmp_path / "f", code=2)
    assert "There is no row named 'qcaa'. Did you mean 'qca'?" in said
    said = call("figures", runs, "--methods", "ridge", "--genes", "ERBB2", "--to", tmp_path / "f")
    assert "codebook-ridge" in said
    assert "codebook-qca" not in said
    assert list((tmp_path / "f").glob("*/distribution-ERBB2.png"))

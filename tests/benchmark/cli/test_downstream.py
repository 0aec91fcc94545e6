"""`downstream`, `run --downstream` and what reads their figures, on the command line."""

import importlib.util
import json

import pytest
from qbench.benchmark.cli.entry import app
from qbench.leaderboard.downstream import FILE
from typer.testing import CliRunner

from ...support.leaderboard_runs import make_runs
from ...support.tiny_her2st import make as make_tiny


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downstream") / "runs"
    make_runs(folder, {"qca": 0.8, "mean": 0.0}, sections=1)
    call("downstream", folder)
    return folder


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    told = result.output if result.exception is None or isinstance(result.exception, SystemExit) else result.exception
    assert getattr(result.exception, "exit_code", result.exit_code) == code, told
    return str(told)


def test_stored_predictions_are_asked_without_fitting_and_once(runs, tmp_path):
    gmt = tmp_path / "mine.gmt"
    gmt.write_text("MINE\tof this test\tERBB2\tG3\tG4\tG5\n")
    told = call("downstream", runs, "--gene-sets", f"breast,{gmt}", "--data-dir", tmp_path / "nowhere")
    assert "No labels of her2st, so none is compared with: " in told
    assert "downstream: 4 cells made, 0 read" in told
    assert "Downstream: PCC by spatial scale" in told
    assert "not scored there: pam50" in told
    assert "0 cells made, 4 read" in call("downstream", runs, "--gene-sets", "breast", "--gene-sets", gmt)
    [table] = json.loads(call("leaderboard", runs, "--json"))["tables"]
    qca, mean = (next(row for row in table["rows"] if row["method"] == name) for name in ("qca", "mean"))
    assert qca["downstream"]["set:MINE"]["mean"] > 0.5
    assert mean["downstream"]["near_all"]["mean"] < qca["downstream"]["near_all"]["mean"]
    assert table["rows"][0]["method"] == "qca"
    assert "near_all" not in qca


def test_the_leaderboard_shows_them_with_detail_and_verify_holds_them(runs):
    assert "Downstream: domains (Leiden)" in call("leaderboard", runs, "--detail")
    assert "Downstream" not in call("leaderboard", runs)
    assert "Downstream: spatial patterns" in call("leaderboard", runs, "--format", "latex", "--detail")
    # Records of the factory are no real identities: what verify says of those is not looked at here.
    assert FILE not in call("verify", runs, code=3)
    path = next(runs.glob(f"*/qca-A-*/{FILE}"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    assert f"downstream figures in {path}" in call("verify", runs, code=3)
    told = call("leaderboard", runs, "--json", code=3)
    assert f"damaged: Expected downstream figures in {path}" in told
    path.write_bytes(whole)


def test_what_is_asked_for_wrongly_is_told_before_anything_is_fitted(tmp_path, monkeypatch):
    run = ("run", "--methods", "mean", "--downstream", "--out", tmp_path / "runs")
    assert "Did you mean 'breast'" in call(*run, "--gene-sets", "brest", code=2)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "qbench-spatial[downstream]" in call(*run, code=2)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_goes_on_to_them_with_the_labels_of_its_dataset(tmp_path):
    data = make_tiny(tmp_path / "data", side=7)
    run = ("run", "--methods", "mean,coordinates", "--dataset", "her2st", "--data-dir", data, "--no-images")
    told = json.loads(call(*run, "--downstream", "--json", "--out", tmp_path / "runs"))
    [table] = told["tables"]
    rows = {row["method"]: row["downstream"] for row in table["rows"]}
    assert rows["mean"]["profile"]["mean"] == pytest.approx(rows["mean"]["profile_mean"]["mean"])
    assert rows["mean"]["rvd_all"]["mean"] == pytest.approx(1)
    assert "0 problems" in call("verify", tmp_path / "runs")

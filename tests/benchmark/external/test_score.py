"""Predictions made elsewhere, under the harness's own folds, panels and scores."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.external.score import score_predictions
from qbench.benchmark.external.table import read_predictions
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError, DataError, IntegrityError
from qbench.leaderboard.record import Record, find_records
from typer.testing import CliRunner

from ...support.datasets_sections import counts, grid, write_card, write_h5ad


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients, four sections, no images."""
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i, (section, patient) in enumerate((("A1", "A"), ("A2", "A"), ("B1", "B"), ("C1", "C"))):
        write_h5ad(folder / f"{section}.h5ad", counts(seed=i), spatial=grid())
        entries.append({"id": section, "patient": patient, "file": f"{section}.h5ad"})
    return write_card(folder / "mine.yaml", "h5ad", entries, markers={"tumour": ["ERBB2"], "stroma": ["COL1A1"]})


@pytest.fixture(scope="module")
def own(card: Path) -> tuple[list[Record], pd.DataFrame, anndata.AnnData]:
    """The harness's records of a control, and its predictions as a long table and as AnnData."""
    options = RunSettings(methods=("coordinates",), dataset=str(card), no_images=True, out=card.parent / "runs")
    records = [run_cell(cell.task) for cell in make_plan(options).cells]
    assert {record.status for record in records} == {"done"}
    parts = [anndata.read_h5ad(folder / "predictions.h5ad") for folder, _ in find_records(options.out)]
    long = pd.concat(
        pd.DataFrame(
            {
                "section": np.repeat(part.obs["section"].to_numpy(), part.n_vars),
                "spot": np.repeat(part.obs["spot"].to_numpy(), part.n_vars),
                "gene": np.tile(part.var_names, part.n_obs),
                "prediction": part.X.ravel(),
            }
        )
        for part in parts
    )
    return records, long, anndata.concat(parts, join="outer")


def options(card: Path, out: Path, **more: object) -> RunSettings:
    return RunSettings(**{"dataset": str(card), "no_images": True, "out": out, **more})


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "h5ad"])
def test_the_harness_own_predictions_score_the_same(
    card: Path, own: tuple[list[Record], pd.DataFrame, anndata.AnnData], tmp_path: Path, kind: str
) -> None:
    records, long, wide = own
    path = tmp_path / f"mine.{kind}"
    shuffled = long.sample(frac=1, random_state=0)
    if kind == "parquet":
        shuffled.to_parquet(path)
    elif kind == "h5ad":
        data = wide[np.random.default_rng(0).permutation(wide.n_obs)].copy()
        del data.obs["spot"]  # the names are SECTION_SPOT
        data.write_h5ad(path)
    else:
        shuffled.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", float_format="%.9g")
    found, notes = score_predictions(path, "elsewhere", "log1p", options(card, tmp_path / "runs"))
    assert notes == []
    due = {record.fold.name: record for record in records}
    assert {record.fold.name for record in found} == set(due)
    for record in found:
        assert record.scores == due[record.fold.name].scores
        assert record.pooled == due[record.fold.name].pooled
        assert record.hashes.predictions == due[record.fold.name].hashes.predictions
        assert record.hashes.panel == due[record.fold.name].hashes.panel
        assert (record.method.kind, record.method.label, record.encoder) == ("external", "elsewhere", None)
    stored = [record for _, record in find_records(tmp_path / "runs")]
    assert sorted(record.cell for record in stored) == sorted(record.cell for record in found)


def test_counts_and_proportions_are_turned_into_the_target(
    card: Path, own: tuple[list[Record], pd.DataFrame, anndata.AnnData], tmp_path: Path
) -> None:
    _, long, _ = own
    linear = long.assign(prediction=np.expm1(long["prediction"].astype(float)))
    linear.to_csv(tmp_path / "p.csv", index=False)
    by_counts, _ = score_predictions(tmp_path / "p.csv", "x", "counts", options(card, tmp_path / "a"))
    long.to_csv(tmp_path / "q.csv", index=False)
    by_log, _ = score_predictions(tmp_path / "q.csv", "x", "log1p", options(card, tmp_path / "b"))
    for a, b in zip(by_counts, by_log, strict=True):
        for section in a.scores:
            for figure, value in b.scores[section].items():
                assert a.scores[section][figure] == pytest.approx(value, abs=1e-5), figure
    with pytest.raises(ConfigurationError, match="as proportion cannot be turned into the target counts"):
        score_predictions(tmp_path / "p.csv", "x", "proportion", options(card, tmp_path / "c"))
    with pytest.raises(ConfigurationError, match="use --target counts"):
        score_predictions(tmp_path / "p.csv", "x", "counts", options(card, tmp_path / "c", target="proportion"))


def test_what_is_missing_is_named(
    card: Path, own: tuple[list[Record], pd.DataFrame, anndata.AnnData], tmp_path: Path
) -> None:
    _, long, _ = own
    path = tmp_path / "p.csv"

    def score(table: pd.DataFrame, **more: object) -> list[str]:
        table.to_csv(path, index=False)
        return score_predictions(path, "x", "log1p", options(card, tmp_path / "runs", **more))[1]

    with pytest.raises(DataError, match="no predictions of the test sections A2, C1"):
        score(long[~long["section"].isin(["A2", "C1"])])
    with pytest.raises(DataError, match=r"section A2: 2 of 12 spots have no prediction \(spot3, spot7\)"):
        score(long[~((long["section"] == "A2") & long["spot"].isin(["spot3", "spot7"]))])
    with pytest.raises(DataError, match=r"section B1: 1 of 6 panel genes have no prediction \(VWF\)"):
        score(long[~((long["section"] == "B1") & (long["gene"] == "VWF"))])
    gap = (long["section"] == "B1") & (long["gene"] == "VWF") & (long["spot"] == "spot5")
    with pytest.raises(DataError, match=r"section B1: 1 of 72 predictions are missing or NaN \(spot5 VWF\)"):
        score(long[~gap])
    with pytest.raises(DataError, match=r"1 of 72 predictions are missing or NaN"):
        score(long.assign(prediction=long["prediction"].mask(gap)))
    with pytest.raises(DataError, match="section B1 has more than one prediction of spot5 VWF"):
        score(pd.concat([long, long[gap]]))
    with pytest.raises(DataError, match="found no prediction but section, spot, gene, value"):
        score(long.rename(columns={"prediction": "value"}))
    with pytest.raises(DataError, match="expected log1p values, found 5000"):
        score(long.assign(prediction=long["prediction"].mask(gap, 5000.0)))
    with pytest.raises(DataError, match="expected finite predictions"):
        score(long.assign(prediction=long["prediction"].mask(gap, np.inf)))
    extra = long[long["section"] == "B1"].assign(section="Z9")
    assert score(pd.concat([long, extra])) == ["Not part of the protocol, left out: Z9."]
    # fewer sections are another protocol, with a table of its own
    assert score(long[long["section"] != "A2"], sections=("A1", "B1", "C1")) == []


def test_names_and_scales_that_do_not_do(
    card: Path, own: tuple[list[Record], pd.DataFrame, anndata.AnnData], tmp_path: Path
) -> None:
    own[1].to_csv(tmp_path / "p.csv", index=False)
    for name, scale, message in (
        ("ridge", "log1p", "'ridge' is a method of qbench"),
        ("a/b", "log1p", "--name. to be of letters"),
        ("x", "log2", "There is no scale named 'log2'. Did you mean 'log1p'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            score_predictions(tmp_path / "p.csv", name, scale, options(card, tmp_path / "runs"))
    with pytest.raises(IntegrityError, match="--allow-leaky"):
        score_predictions(tmp_path / "p.csv", "x", "log1p", options(card, tmp_path / "runs", protocol="section"))
    (tmp_path / "p.txt").write_text("x")
    with pytest.raises(DataError, match=r"as .h5ad, .csv, .tsv or .parquet, found p.txt"):
        read_predictions(tmp_path / "p.txt")


def test_the_command_ranks_it_beside_what_was_run(
    card: Path, own: tuple[list[Record], pd.DataFrame, anndata.AnnData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(card.parent)  # where the runs of the control lie
    own[1].assign(prediction=0.5).to_parquet(tmp_path / "flat.parquet")
    arguments = ["score", str(tmp_path / "flat.parquet"), "--dataset", str(card), "--no-images"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    (table,) = json.loads(result.stdout)["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    assert (rows["flat"]["kind"], rows["flat"]["n_patients"]) == ("external", 3)
    assert rows["coordinates"]["kind"] == "control"
    assert rows["flat"]["pcc_all"]["mean"] == 0  # a constant correlates with nothing
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "external" in shown.output

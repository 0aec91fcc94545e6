"""HEST-bench at the command line: its number against scikit-learn's own pipeline, the leak in the title, ours beside it."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.tasks import runs_of
from qbench.benchmark.external.score import score_predictions
from qbench.benchmark.read_settings import read_settings
from qbench.benchmark.scoring.metrics import hest_figure
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError, DataError
from qbench.leaderboard.page_data import table_data
from qbench.leaderboard.record import find_records
from qbench.leaderboard.render import render
from qbench.leaderboard.stored import read_predictions, read_spots
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.table import Table
from qbench.leaderboard.terminal import print_tables
from qbench.methods import registry
from qbench.methods.method import FitContext
from rich.console import Console
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from ..support.hest_task import write_task
from ..support.method_cohorts import linear_cohort, sealed


def qbench(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task IDC of two splits, the second of two samples."""
    folder = tmp_path_factory.mktemp("bench")
    write_task(folder / "data/IDC", spots=30, splits=[["S1"], ["S2", "S3"]])
    return folder


def run_of(bench: Path, **more: object) -> RunSettings:
    given = {"methods": ["pca-ridge", "mean"], "protocol": "hest-bench", "tasks": "IDC", "encoder": "rgb"}
    where = {"data_dir": bench / "data", "out": bench / "runs", "keep_models": False}
    return read_settings({**given, **where, **more})


@pytest.fixture(scope="module")
def tables(bench: Path) -> dict[str, Table]:
    """All cells run once, in this process: by protocol the table."""
    plans = [make_plan(options) for options in runs_of(run_of(bench))]
    records = [run_cell(cell.task) for plan in plans for cell in plan.cells]
    return {table.protocol.name: table for table in summarise(records)}


def theirs(x: list[np.ndarray], y: list[np.ndarray], components: int, dtype: type = np.float64) -> float:
    """The benchmark's probe on (train, test) in scikit-learn's own words: r of a gene over the test spots, mean over genes."""
    scaler = StandardScaler().fit(x[0])
    pca = PCA(components, random_state=1)
    train = pca.fit_transform(scaler.transform(x[0])).astype(dtype)
    test = pca.transform(scaler.transform(x[1])).astype(dtype)
    alpha = 100 / (components * y[0].shape[1])
    probe = Ridge(alpha=alpha, solver="lsqr", fit_intercept=False, max_iter=1000, random_state=0).fit(train, y[0])
    predicted = probe.predict(test)
    return float(np.mean([np.corrcoef(predicted[:, g], y[1][:, g])[0, 1] for g in range(y[0].shape[1])]))


def reproduced(task: Path, dtype: type = np.float64) -> list[float]:
    """HEST-bench's figure of each split, from the files alone; features are mean and sd of red, green and blue."""
    genes = json.loads((task / "var_50genes.json").read_text())["genes"]
    out = []
    for number in range(len(list((task / "splits").glob("test_*.csv")))):
        x, y = [], []
        for side in ("train", "test"):
            features, targets = [], []
            for row in pd.read_csv(task / f"splits/{side}_{number}.csv").itertuples():
                with h5py.File(task / row.patches_path) as file:
                    pixels = file["img"][:].reshape(len(file["img"]), -1, 3).astype(np.float64)
                    barcodes = [value.decode() for value in file["barcode"][:].ravel()]
                features.append(np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1))
                counts = anndata.read_h5ad(task / row.expr_path)[barcodes][:, genes].X.toarray()
                targets.append(np.log1p(counts.astype(np.float64)))
            x.append(np.concatenate(features))
            y.append(np.concatenate(targets))
        out.append(theirs(x, y, 6, dtype))
    return out


def test_the_number_is_that_of_scikit_learn_on_the_same_files(bench: Path, tables: dict[str, Table]) -> None:
    due = reproduced(bench / "data/IDC")
    row = tables["hest-bench"].row("pca-ridge")
    assert row is not None
    by_split = {record.fold.name: record.whole["hest"] for record in row.records}
    assert [by_split["split0"], by_split["split1"]] == pytest.approx(due, abs=1e-6)
    assert row.figure("hest").mean == pytest.approx(np.mean(due), abs=1e-6)
    assert row.figure("hest").sd_patients == pytest.approx(np.std(due, ddof=1), abs=1e-6)
    assert min(due) > 0.3  # there is something to find
    # The benchmark hands its regression float32, in which the solver stops a little elsewhere.
    assert list(by_split.values()) == pytest.approx(reproduced(bench / "data/IDC", np.float32), abs=1e-5)


def test_of_256_components_too() -> None:
    train = linear_cohort(0, {"A1": 150, "B1": 130}, features=258)
    test = linear_cohort(1, {"C1": 60}, features=258).sections[0]
    varying = test.target.std(axis=0) > 0
    method = registry.spec("pca-ridge", {}).build()
    method.fit(train, None, FitContext())
    x = [np.asarray(cohort.features(), dtype=np.float64) for cohort in (train, test)]
    y = [cohort.target.astype(np.float64) for cohort in (train, test)]
    y[1][:, ~varying] = np.arange(len(y[1]))[:, None]  # a constant has no r
    due = theirs(x, y, 256)
    assert hest_figure(y[1].astype(np.float32), method.predict(sealed(test))) == pytest.approx(due, abs=1e-6)


def test_pooled_over_the_split_is_another_number_than_by_section(tables: dict[str, Table]) -> None:
    probe, mean = tables["hest-bench"].row("pca-ridge"), tables["hest-bench"].row("mean")
    assert probe is not None
    assert mean is not None
    assert abs((probe.figure("hest").mean or 0) - (probe.figure("pcc_all_unrounded").mean or 0)) > 1e-4
    assert mean.figure("hest").mean == 0  # constant: 0, not NaN


def test_the_leak_is_in_the_title_and_ours_stands_beside(tables: dict[str, Table]) -> None:
    own, ours = tables["hest-bench"], tables["patient"]
    assert own.title.endswith("GENES CHOSEN ON TEST SAMPLES")
    assert "GENES" not in ours.title
    assert own.folds == ("split0", "split1")
    assert ours.folds == ("S1", "S2 and 1 more")
    assert all("hest" in row.figures for row in own.rows)
    assert not any("hest" in row.figures for row in ours.rows)


def test_again_nothing_runs_and_everything_is_sound(bench: Path, tables: dict[str, Table]) -> None:
    plans = [make_plan(options) for options in runs_of(run_of(bench))]
    assert [plan.protocol.name for plan in plans] == ["hest-bench", "patient"]
    assert {cell.state for plan in plans for cell in plan.cells} == {"cached"}
    assert "8 cells verified, 0 problems" in qbench("verify", bench / "runs")


def test_an_edited_number_is_found(bench: Path, tables: dict[str, Table], tmp_path: Path) -> None:
    row = tables["hest-bench"].row("pca-ridge")
    assert row is not None
    [(folder, record)] = [found for found in find_records(bench / "runs") if found[1].cell == row.records[1].cell]
    copied = Path(shutil.copytree(folder, tmp_path / "runs" / folder.parent.name / folder.name))
    edited = record.model_copy(update={"whole": {"hest": 0.99}})
    (copied / "record.json").write_text(edited.model_dump_json(by_alias=True))
    assert "whole split hest is 0.99" in " ".join(qbench("verify", tmp_path / "runs", code=3).split())


def test_the_table_is_printed_with_its_legend_and_the_published_one_beside(tables: dict[str, Table]) -> None:
    said = render(list(tables.values()), "md", detail=True)
    parts = {part.splitlines()[0]: part for part in said.split("\n## ")}
    [own] = [part for title, part in parts.items() if "Protocol hest-bench" in title]
    [ours] = [part for title, part in parts.items() if "Protocol patient" in title]
    assert "| Encoder | HEST |" in own
    assert "HEST |" not in ours.split("###")[0]
    assert "neither clamped nor rounded" in said
    assert "### Reported, not measured: HEST-bench: PCA and ridge below 26 encoders" in own
    assert "| UNI2-h | – | 0.590 |" in own
    assert "### Reported, other protocol: HEST-bench: PCA and ridge below 26 encoders (protocol: hest-bench)" in ours
    console = Console(width=140, record=True, file=io.StringIO())
    print_tables(list(tables.values()), console)
    assert "HEST" in console.export_text()
    data = table_data(tables["hest-bench"], {}, [])
    assert data["sets"]["hest"] == ["hest"]
    assert all("hest" in row["figures"] for row in data["rows"])


@pytest.mark.slow
def test_the_command_runs_two_tasks_and_prints_four_tables(bench: Path) -> None:
    write_task(bench / "data/SKCM", spots=20, splits=[["T1"], ["T2"]], seed=1)
    where = ("--protocol", "hest-bench", "--tasks", "IDC,SKCM", "--data-dir", bench / "data", "--out", bench / "more")
    own = ("--encoder", "rgb", "--methods", "pca-ridge", "--json")
    found = json.loads(qbench("run", *where, *own))["tables"]
    assert {(table["dataset"], table["protocol"], len(table["rows"])) for table in found} == {
        (f"hest-bench-{task}", protocol, 1) for task in ("IDC", "SKCM") for protocol in ("hest-bench", "patient")
    }
    for table in found:
        if table["protocol"] == "hest-bench":
            due = np.mean(reproduced(bench / "data" / table["dataset"].removeprefix("hest-bench-")))
            assert table["rows"][0]["hest"]["mean"] == pytest.approx(due, abs=1e-6)
    assert len(json.loads(qbench("run", *where, *own, "--dry-run"))["plans"]) == 4


def test_predictions_made_elsewhere_have_the_number_too(bench: Path, tables: dict[str, Table], tmp_path: Path) -> None:
    row = tables["hest-bench"].row("pca-ridge")
    assert row is not None
    folders = {record.cell: folder for folder, record in find_records(bench / "runs")}
    stored = [read_predictions(folders[record.cell]) for record in row.records]
    lines = []
    for folder, one in zip((folders[record.cell] for record in row.records), stored, strict=True):
        assert one.unclamped is not None
        frame = pd.DataFrame(one.unclamped, columns=list(one.genes))
        lines.append(frame.assign(section=one.sections, spot=read_spots(folder)))
    long = pd.concat(lines).melt(["section", "spot"], var_name="gene", value_name="prediction")
    long.to_csv(tmp_path / "mine.csv", index=False)
    options = runs_of(run_of(bench, out=tmp_path / "scored"))[0]
    records, _ = score_predictions(tmp_path / "mine.csv", "mine", "log1p", options)
    due = {record.fold.name: record.whole["hest"] for record in row.records}
    assert {record.fold.name: record.whole["hest"] for record in records} == pytest.approx(due, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"tasks": "IDX"}, ConfigurationError, "There is no task of hest-bench named 'IDX'. Did you mean 'IDC'"),
        ({"tasks": "IDC", "dataset": "her2st"}, ConfigurationError, "leave out --dataset her2st"),
        ({"tasks": "IDC"}, DataError, r"fetch it with 'qbench data fetch hest-bench --tasks IDC --to DIR'"),
        ({"tasks": "PRAD", "data_dir": "."}, DataError, r"Expected task PRAD in .*PRAD, found none"),
    ],
)
def test_tasks_that_cannot_be_run(given: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        runs_of(read_settings({"methods": ["mean"], **given}))


def test_tasks_under_another_protocol_are_run_under_it_alone(bench: Path) -> None:
    [only] = runs_of(run_of(bench, protocol="patient"))
    assert (only.dataset, only.protocol, only.data_dir) == ("hest-bench-IDC", "patient", bench / "data/IDC")


def test_a_sweep_has_nothing_to_choose_on(bench: Path) -> None:
    folder = ("--dataset", "hest-bench-IDC", "--data-dir", bench / "data/IDC", "--out", bench / "sweeps")
    with pytest.raises(ConfigurationError, match="A sweep chooses on validation, which protocol 'hest-bench' does not"):
        qbench("sweep", "qca", "--encoder", "rgb", "--protocol", "hest-bench", *folder)

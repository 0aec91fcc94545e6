"""Datasets, encoders and metrics that other packages bring by entry points; methods from a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.plugins import load_plugins
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError
from qbench.leaderboard.record import Record
from qbench.methods.encoders import registry as encoders
from qbench.methods.encoders.card import EncoderCard
from typer.testing import CliRunner

from ..support.datasets_sections import counts, grid, write_card, write_h5ad
from ..support.fake_packages import fake_site

Bring = Callable[[str, str, Any], None]


@pytest.fixture
def bring(tmp_path: Path) -> Iterator[Bring]:
    """An installed package with one entry point."""
    with fake_site(tmp_path / "site") as site:
        yield site.bring


def listed(kind: str) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(app, ["list", kind, "--json"])
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)[kind]}


def make_card(folder: Path) -> Path:
    sections = []
    for i in range(3):
        write_h5ad(folder / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        sections.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"})
    return write_card(folder / "theirs.yaml", "h5ad", sections)


def test_a_dataset_of_another_package(bring: Bring, tmp_path: Path) -> None:
    path = make_card(tmp_path)
    bring("qbench.datasets", "theirs", lambda: str(path))
    assert listed("datasets")["theirs"]["origin"] == "their-package"
    options = RunSettings(methods=("mean",), dataset="theirs", no_images=True, out=tmp_path / "runs")
    assert len(make_plan(options).cells) == 3


def test_an_encoder_of_another_package(bring: Bring, tmp_path: Path) -> None:
    card = EncoderCard(
        title="Theirs", timm_name="resnet10t", mean=(0.5,) * 3, std=(0.5,) * 3, licence="MIT", source="here"
    )
    bring("qbench.encoders", "theirs", card)
    assert listed("encoders")["theirs"] == {
        "name": "theirs",
        "group": "general",
        "what": "Theirs",
        "licence": "MIT",
        "origin": "their-package",
    }
    spec = encoders.resolve("theirs", {"theirs": "random"}, "cpu", "eager:fp32")
    assert (spec.timm_name, spec.mean) == ("resnet10t", (0.5, 0.5, 0.5))
    assert encoders.origin("resnet50") == "qbench"


def absolute_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Mean absolute error."""
    return np.abs(truth - prediction).mean(axis=0)


def run_mean(tmp_path: Path) -> Record:
    path = make_card(tmp_path)
    plan = make_plan(RunSettings(methods=("mean",), dataset=str(path), no_images=True, out=tmp_path / "runs"))
    return run_cell(plan.cells[0].task)


def test_a_metric_of_another_package_is_scored_beside_ours(bring: Bring, tmp_path: Path) -> None:
    plain = run_mean(tmp_path)
    assert "metrics" not in plain.identity
    bring("qbench.metrics", "mae", absolute_error)
    assert listed("metrics")["mae"] == {"name": "mae", "what": "Mean absolute error.", "origin": "their-package 1.2"}
    record = run_mean(tmp_path)
    assert record.identity["metrics"] == {"mae": "their-package 1.2"}
    assert record.cell != plain.cell
    # by hand: the mean of the training side (S2) against the test section (S0)
    import anndata

    folder = next((tmp_path / "runs").glob(f"*/*{record.cell[:12]}"))
    data = anndata.read_h5ad(folder / "predictions.h5ad")
    due = np.abs(data.layers["truth"].astype(float) - data.X).mean()
    assert record.scores["S0"]["mae_all"] == pytest.approx(due, rel=1e-6)
    assert {k: v for k, v in record.scores["S0"].items() if not k.startswith("mae")} == plain.scores["S0"]


def test_a_metric_is_verified_where_it_is_installed_and_left_alone_where_it_is_not(
    bring: Bring, tmp_path: Path
) -> None:
    record = run_mean(tmp_path)
    bring("qbench.metrics", "mae", absolute_error)  # a package that comes later changes nothing of what is stored
    assert verify(tmp_path / "runs").problems == ()
    with_metric = run_mean(tmp_path)
    assert with_metric.cell != record.cell
    assert verify(tmp_path / "runs").problems == ()


def test_a_cell_that_promises_a_metric_which_its_process_lacks(bring: Bring, tmp_path: Path) -> None:
    plan = make_plan(
        RunSettings(methods=("mean",), dataset=str(make_card(tmp_path)), no_images=True, out=tmp_path / "runs")
    )
    task = plan.cells[0].task
    promised = task.model_copy(update={"identity": {**task.identity, "metrics": {"mae": "their-package 1.2"}}})
    with pytest.raises(ConfigurationError, match=r"'mae' of their-package 1\.2, which this process does not have"):
        run_cell(promised)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (ImportError("no module"), "'theirs' of their-package raised ImportError on import: no module"),
        ("text", "'theirs' of their-package 1.2 to be a function, found 'text'; mend its entry point"),
    ],
)
def test_a_metric_that_cannot_be_used_is_left_out_and_said(
    bring: Bring, tmp_path: Path, value: Any, message: str
) -> None:
    plain = run_mean(tmp_path)
    bring("qbench.metrics", "theirs", value)
    options = RunSettings(
        methods=("mean",), dataset=str(tmp_path / "theirs.yaml"), no_images=True, out=tmp_path / "runs"
    )
    plan = make_plan(options)
    assert [note for note in plan.notes if message in note and "left out" in note]
    assert plan.cells[0].state == "cached"  # the same cell as without the package
    assert plan.cells[0].task.cell == plain.cell
    assert message in listed("metrics")["theirs"]["what"]


def raises(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    raise ZeroDivisionError("division by zero")


def spoils(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    truth -= truth
    prediction -= prediction
    return np.full(truth.shape[1], np.nan)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda truth, prediction: truth, "must return a finite value for each of 6 genes, found shape"),
        (spoils, "not finite"),
        (raises, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_metric_that_fails_costs_its_own_figures_alone(
    bring: Bring, tmp_path: Path, value: Any, message: str
) -> None:
    plain = run_mean(tmp_path)
    bring("qbench.metrics", "theirs", value)
    record = run_mean(tmp_path)
    assert record.status == "done"
    assert message in record.warnings[0]
    assert record.warnings[0].startswith("No theirs of section S0: The metric 'theirs' of their-package 1.2")
    assert record.scores["S0"]["theirs_all"] is None
    assert {k: v for k, v in record.scores["S0"].items() if not k.startswith("theirs")} == plain.scores["S0"]
    assert record.pooled == plain.pooled
    assert verify(tmp_path / "runs").problems == ()


def test_methods_from_files_of_one_name(tmp_path: Path) -> None:
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        code = f"from qbench.methods.controls.mean import Mean\nclass M(Mean):\n    name = 'plugged-{i}'\n"
        (tmp_path / folder / "mine.py").write_text(code)
    names = load_plugins([f"{tmp_path}/a/mine.py:M", f"{tmp_path}/b/mine.py:M"])
    assert names == ["plugged-0", "plugged-1"]
    assert sum(name.startswith("qbench_plugin_mine") for name in sys.modules) == 2

"""Verification finds an edit wherever it was made, and nothing in an untouched folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.settings import RunSettings
from qbench.datasets.hashing import canonical_hash
from qbench.errors import ConfigurationError
from typer.testing import CliRunner

from ...support.datasets_sections import counts, grid, write_card, write_h5ad

SECTIONS = {"A1": "A", "A2": "A", "B1": "B", "C1": "C", "D1": "D"}


@pytest.fixture(scope="module", params=["counts", "proportion"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A runs folder of two controls on four patients."""
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i, (section, patient) in enumerate(SECTIONS.items()):
        write_h5ad(folder / f"{section}.h5ad", counts(seed=i) + 20, spatial=grid())
        entries.append({"id": section, "patient": patient, "file": f"{section}.h5ad"})
    card = write_card(folder / "mine.yaml", "h5ad", entries, markers={"tumour": ["ERBB2", "GNAS"], "immune": ["CD74"]})
    options = RunSettings(
        methods=("mean", "coordinates"), dataset=str(card), no_images=True, target=request.param, out=folder / "runs"
    )
    for planned in make_plan(options).cells:
        assert run_cell(planned.task).status == "done"
    return options.out


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "runs")


def cell(runs: Path) -> Path:
    return next(iter(sorted(runs.glob("*/coordinates-B-seed0-*"))))


def messages(runs: Path) -> list[str]:
    found = verify(runs).problems
    assert all("coordinates-B-seed0" in problem.cell for problem in found)
    return [problem.message for problem in found]


def edit(runs: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the record of a cell."""
    path = cell(runs) / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_an_untouched_folder_has_no_problem(runs):
    seen = []
    result = verify(runs, lambda what, done, total: seen.append((what, done, total)))
    assert (result.cells, result.failed, result.problems) == (8, 0, ())
    assert seen[-1] == ("verifying", 8, 8)


def test_an_edited_prediction_is_named(runs):
    with h5py.File(cell(runs) / "predictions.h5ad", "r+") as file:
        file["X"][0, 0] += np.float32(0.5)
    found = messages(runs)
    assert any("predictions are not those" in message for message in found)
    assert any("scores.parquet: mse" in message for message in found)


def test_an_edited_truth_is_named(runs):
    with h5py.File(cell(runs) / "predictions.h5ad", "r+") as file:
        truth = file["layers/truth"]
        library = file["obs/library_size"][:]
        whole = file["uns/target"].asstr()[()] == "counts"
        truth[0, 0] = np.log1p(99.0) if whole else np.log1p(np.float32(99.0 * 1e4 / library[0]))
    assert any("scores.parquet" in message for message in messages(runs))


def test_edited_scores_are_named(runs):
    path = cell(runs) / "scores.parquet"
    table = pq.read_table(path)
    values = table["pcc"].to_numpy().copy()
    values[0] = 0.99
    pq.write_table(table.set_column(table.column_names.index("pcc"), "pcc", pa.array(values)), path)
    found = messages(runs)
    assert any("scores.parquet is not the one" in message for message in found)
    assert any("scores.parquet: pcc is not" in message for message in found)


def test_an_edited_figure_or_setting_in_the_record_is_named(runs):
    path = cell(runs) / "record.json"
    record = json.loads(path.read_text())
    record["scores"]["B1"]["pcc_hvg"] = 0.99
    record["method"]["parameters"] = {"alpha": 0.9}
    path.write_text(json.dumps(record))
    found = messages(runs)
    assert any("B1 pcc_hvg is 0.99" in message for message in found)
    assert any("parameters is not that of its identity" in message for message in found)


def test_an_edited_identity_no_longer_fits_its_hash(runs):
    path = cell(runs) / "record.json"
    record = json.loads(path.read_text())
    record["identity"]["parameters"] = record["method"]["parameters"] = {"alpha": 0.9}
    path.write_text(json.dumps(record))
    assert messages(runs) == ["the cell is not the hash of its identity"]


def _swap_patient(record: dict[str, Any]) -> None:
    record["protocol"]["definition"]["patients"]["A2"] = "B"


def _swap_everywhere(record: dict[str, Any]) -> None:
    """The patient's name in the record and its identity, with the hash made anew; the folds then are others."""
    _swap_patient(record)
    for side in ("train", "validation", "test"):
        for section, part in record["identity"]["fold"][side].items():
            part["patient"] = record["protocol"]["definition"]["patients"][section]
    record["cell"] = canonical_hash(record["identity"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["fold"].update(train=["C1"]), "training sections is not that of its identity"),
        (lambda r: r["fold"].update(validation=["D1"]), "validation sections is not"),
        (lambda r: r["fold"].update(test=["D1"]), "test sections is not"),
        (lambda r: r["fold"].update(test_patients=["D"]), "test patients is not"),
        (lambda r: r["fold"].update(name="D"), "name of the fold is not"),
        (lambda r: r["fold"].update(n_test_spots=11), "number of test spots is not"),
        (lambda r: r["fold"].update(patient_in_training=True), "patient_in_training is not"),
        (lambda r: r["protocol"].update(leaky=True), "says leaky"),
        (lambda r: r["protocol"].update(sections=["A1", "B1"]), "protocol is not the one that its hash is of"),
        (lambda r: r["protocol"]["definition"]["rules"].update(panel_size=9), "rules is not"),
        (lambda r: r["hashes"].update(split="0" * 64), "split's hash is not"),
        (lambda r: r["hashes"].update(data="0" * 64), "data's hash is not"),
        (lambda r: r["panel"].update(hvg=r["panel"]["hvg"][::-1]), "the panel of the record"),
        (lambda r: r.update(markers_missing=[]), "the panel of the record"),
        (lambda r: r.update(seed=3), "seed is not that of its identity"),
        (lambda r: r.update(precision="bf16"), "precision is not that of its identity"),
        (_swap_patient, "patients is not that of its identity"),
        (_swap_everywhere, "its fold is none that protocol patient makes"),
        (lambda r: r["identity"].pop("fold"), "does not have the parts that a cell's has"),
        (lambda r: r["identity"].update(rules=None), "does not have the parts that a cell's has"),
        (lambda r: r.update(schema=1), "does not hold the fold's sections and patients"),
    ],
)
def test_an_edited_split_is_named(runs: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    edit(runs, change)
    assert any(words in message for message in messages(runs)), messages(runs)


def test_predictions_of_other_sections_patients_or_spots_are_named(runs: Path) -> None:
    with h5py.File(cell(runs) / "predictions.h5ad", "r+") as file:
        file["obs/patient/categories"][0] = "C"
    assert any("predictions of B1 are under patient C, its identity's is B" in message for message in messages(runs))
    with h5py.File(cell(runs) / "predictions.h5ad", "r+") as file:
        file["obs/section/categories"][0] = "B2"
    found = messages(runs)
    assert any("Expected test sections B1" in message and "found B2" in message for message in found)
    assert any("predictions.h5ad is not the one that was written" in message for message in found)


def test_a_contradiction_is_exit_3(runs: Path) -> None:
    assert CliRunner().invoke(app, ["verify", str(runs)]).exit_code == 0
    edit(runs, lambda record: record["fold"].update(test_patients=["D"]))
    done = CliRunner().invoke(app, ["verify", str(runs)])
    assert done.exit_code == 3
    assert "test patients is not that of its identity" in done.output


def test_missing_files_and_newer_records_are_problems_of_their_cell(runs):
    (cell(runs) / "predictions.h5ad").unlink()
    assert "run the cell again" in messages(runs)[0]
    path = cell(runs) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    assert "newer qbench (schema 99" in messages(runs)[0]


@pytest.mark.parametrize("name", ["record.json", "scores.parquet", "diagnostics.npz", "predictions.h5ad"])
def test_damaged_bytes_are_a_problem_of_their_cell_and_the_others_are_checked(runs, name):
    path = cell(runs) / name
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"\x8a" + content[1:]):
        path.write_bytes(damaged)
        assert any(name in message for message in messages(runs))
    assert verify(runs).cells == 8


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="Expected records"):
        verify(tmp_path)

"""Verification finds an edit wherever it was made, and nothing in an untouched folder."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qbench.benchmark.verify import verify
from qbench.datasets.hashing import canonical_hash
from qbench.errors import ConfigurationError

from .leaderboard_runs import make_runs


@pytest.fixture(params=["counts", "proportion"])
def runs(tmp_path, request):
    make_runs(tmp_path, {"qca": 0.7, "ridge": 0.4}, target=request.param)
    for path in tmp_path.glob("*/*/record.json"):  # the factory's cells are names, the harness's are hashes
        record = json.loads(path.read_text())
        record["identity"]["scores"] = 1
        path.write_text(json.dumps(record | {"cell": canonical_hash(record["identity"])}))
    return tmp_path


def cell(runs):
    return next(iter(sorted(runs.glob("*/qca-B-seed0"))))


def messages(runs) -> list[str]:
    found = verify(runs).problems
    assert all(problem.cell.endswith("qca-B-seed0") for problem in found)
    return [problem.message for problem in found]


def test_an_untouched_folder_has_no_problem(runs):
    seen = []
    result = verify(runs, lambda what, done, total: seen.append((what, done, total)))
    assert (result.cells, result.failed, result.problems) == (4, 0, ())
    assert seen[-1] == ("verifying", 4, 4)


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
        counts = file["uns/target"].asstr()[()] == "counts"
        truth[0, 0] = np.log1p(3.0) if counts else np.log1p(np.float32(3.0 * 1e4 / library[0]))
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


def test_missing_files_and_newer_records_are_problems_of_their_cell(runs):
    (cell(runs) / "predictions.h5ad").unlink()
    assert "run the cell again" in messages(runs)[0]
    path = cell(runs) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    assert "newer qbench (schema 99" in messages(runs)[0]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="Expected records"):
        verify(tmp_path)

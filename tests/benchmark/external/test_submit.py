"""Bundles for the open board: packed only if they verify, refused when tampered with, compared when several have a cell."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.external.bundle import check_bundle, read_bundle
from qbench.benchmark.external.open_board import open_board
from qbench.benchmark.external.submit import submit
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError, IntegrityError
from typer.testing import CliRunner

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder of two controls on the demo."""
    out = tmp_path_factory.mktemp("submit") / "runs"
    for planned in make_plan(RunSettings(methods=("mean", "coordinates"), no_images=True, out=out)).cells:
        assert run_cell(planned.task).status == "done"
    return out


@pytest.fixture(scope="module")
def packed(made: Path) -> Path:
    to = made.parent / "packed"
    submit(made, to, "Jane Doe, Example University", predictions=True)
    return to


@pytest.fixture
def bundle(packed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(packed, tmp_path / "results" / "jane")


def restamp(bundle: Path, path: Path) -> None:
    """Make the bundle's own list agree with a file that was changed, as somebody who cheats would."""
    contents = json.loads((bundle / "bundle.json").read_text())
    contents["files"][path.relative_to(bundle).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(contents))


def edit(path: Path, change: Any) -> None:
    record = json.loads(path.read_text())
    change(record)
    record["hashes"].pop("record", None)  # what was never written cannot be held
    path.write_text(json.dumps(record))


def test_a_bundle_holds_what_was_chosen_and_verifies(made: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["submit", str(made), "--to", str(tmp_path / "b"), "--by", "Jane", "-m", "mean"])
    assert done.exit_code == 0, done.output
    assert "4 cells packed" in done.output
    assert "reported" in done.output
    assert {Path(name).parts[1].split("-")[0] for name in read_bundle(tmp_path / "b").files} == {"mean"}
    assert not list((tmp_path / "b").rglob("*.h5ad"))
    verified = RUNNER.invoke(app, ["verify", str(tmp_path / "b")])
    assert verified.exit_code == 0, verified.output
    assert "4 cells verified, 0 problems" in verified.output


def test_a_byte_that_changed_is_named(bundle: Path) -> None:
    path = sorted(bundle.rglob("scores.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = RUNNER.invoke(app, ["verify", str(bundle)])
    assert done.exit_code == 3
    assert "not the file that was packed" in done.output
    with pytest.raises(IntegrityError, match="jane/"):
        open_board(bundle.parent)


def test_a_better_number_contradicts_the_predictions(bundle: Path) -> None:
    path = sorted(bundle.rglob("record.json"))[0]

    def better(record: dict[str, Any]) -> None:
        section = next(iter(record["scores"]))
        record["scores"][section]["mse"] /= 2

    edit(path, better)
    restamp(bundle, path)
    assert any("computed again" in problem.message for problem in check_bundle(bundle))


def test_without_predictions_edited_scores_contradict_the_record(bundle: Path) -> None:
    folder = sorted(bundle.rglob("record.json"))[0].parent
    contents = json.loads((bundle / "bundle.json").read_text())
    contents["files"].pop((folder / "predictions.h5ad").relative_to(bundle).as_posix())
    (bundle / "bundle.json").write_text(json.dumps(contents))
    (folder / "predictions.h5ad").unlink()
    assert check_bundle(bundle) == []
    table = pq.read_table(folder / "scores.parquet")
    where = table.column_names.index("mse")
    pq.write_table(table.set_column(where, "mse", [[0.0] * len(table)]), folder / "scores.parquet")
    restamp(bundle, folder / "scores.parquet")
    assert any("sha256 differs" in problem.message for problem in check_bundle(bundle))


def test_what_nobody_else_knows_is_no_result(bundle: Path) -> None:
    path = sorted(bundle.rglob("record.json"))[0]
    edit(path, lambda record: record["protocol"].update(dataset="mine", name="my-rules"))
    restamp(bundle, path)
    messages = " ".join(problem.message for problem in check_bundle(bundle))
    assert "nobody else knows the dataset 'mine'" in messages
    assert "nobody else knows the protocol 'my-rules'" in messages


@pytest.mark.parametrize("name", ["../x/record.json", "/a/b/record.json", "p/c/evil.py", "p/record.json"])
def test_a_bundle_names_its_own_files_alone(bundle: Path, name: str) -> None:
    contents = json.loads((bundle / "bundle.json").read_text())
    contents["files"][name] = "0"
    (bundle / "bundle.json").write_text(json.dumps(contents))
    with pytest.raises(ConfigurationError, match="expected files <protocol>/<cell>/<file>"):
        read_bundle(bundle)


def test_a_cell_that_two_people_send_counts_once_and_is_compared(bundle: Path, made: Path) -> None:
    submit(made, bundle.parent / "adam", "Adam", methods=["mean"])
    text = open_board(bundle.parent)
    row = next(line for line in text.splitlines() if "| mean |" in line and "Jane" in line)
    assert row.endswith("| 4 | 4 | 4 of 4 equal |")
    assert "Adam" not in text  # reported, where Jane's are verified by their predictions
    path = sorted((bundle.parent / "adam").rglob("record.json"))[0]
    edit(path, lambda record: record["hashes"].update(predictions="0" * 64))
    restamp(bundle.parent / "adam", path)
    assert "3 of 4 equal, HVG up to 0.000 apart" in open_board(bundle.parent)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "meen"], "Did you mean 'mean'?"),
        (["--protocol", "section"], "There is no protocol named 'section'"),
        (["--by", "two\nlines"], "Expected --by as one line"),
    ],
)
def test_what_cannot_be_packed_is_one_sentence(made: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    by = [] if "--by" in arguments else ["--by", "Jane"]
    done = RUNNER.invoke(app, ["submit", str(made), "--to", str(tmp_path / "b"), *by, *arguments])
    assert done.exit_code != 0
    assert sentence in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_an_earlier_bundle_is_never_replaced_and_a_damaged_cell_never_packed(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="exists; name another"):
        submit(made, tmp_path, "Jane")
    runs = shutil.copytree(made, tmp_path / "runs")
    next(iter(sorted(runs.rglob("scores.parquet")))).write_bytes(b"PAR1")
    with pytest.raises(IntegrityError, match="Expected cells that verify"):
        submit(runs, tmp_path / "b", "Jane")

"""A damaged result is named and the rest goes on; the command ends with exit code 3."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.settings import RunSettings
from qbench.errors import IntegrityError
from qbench.leaderboard.record import find_records, read_record
from typer.testing import CliRunner

from ...support.datasets_sections import counts, grid, write_card, write_h5ad
from ...support.leaderboard_runs import make_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "runs"
    make_runs(folder, {"qca": 0.8, "ridge": 0.5})
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "runs")


def flip(path: Path, at: int) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(done.exception, SystemExit | None), repr(done.exception)
    return done.exit_code, done.stdout, done.stderr


def test_every_bit_of_a_record_is_covered(runs: Path) -> None:
    path = next(iter(sorted(runs.glob("*/*/record.json"))))
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        flip(path, at)
        told: list[str] = []
        found = find_records(runs, told.append)
        assert (len(found), len(told)) == (3, 1), f"byte {at} of {len(whole)}"
        assert str(path) in told[0]
        path.write_bytes(whole)
    assert len(find_records(runs)) == 4


def test_an_edited_number_is_told_and_a_record_of_before_is_read(runs: Path) -> None:
    path = next(iter(sorted(runs.glob("*/*/record.json"))))
    record = json.loads(path.read_text())
    path.write_text(path.read_text().replace('"status": "done"', '"status": "failed"'))
    with pytest.raises(IntegrityError, match="sha256 differs; delete its folder and run the cell again"):
        read_record(path)
    assert len(record["hashes"].pop("record")) == 64
    path.write_text(json.dumps(record))
    assert read_record(path).status == "done"


@pytest.mark.parametrize(
    "words",
    [
        ["leaderboard", "RUNS"],
        ["leaderboard", "RUNS", "--json"],
        ["leaderboard", "RUNS", "--output", "board.html"],
        ["compare", "qca", "ridge", "--runs", "RUNS"],
        ["list", "runs", "--out", "RUNS"],
        ["verify", "RUNS"],
    ],
)
@pytest.mark.parametrize("file", ["record.json", "predictions.h5ad"])
def test_the_damaged_one_is_named_and_the_rest_goes_on(
    runs: Path, words: list[str], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    (path,) = runs.glob(f"*/ridge-B-seed0/{file}")
    flip(path, 0)
    code, out, told = call(*(runs if word == "RUNS" else word for word in words))
    if file == "predictions.h5ad" and (words[0] == "list" or words[2:] == []) and words[0] != "verify":
        assert (code, told) == (0, "")  # which reads no more than records
        return
    assert code == 3
    lines = [line for line in (out if words[0] == "verify" else told).splitlines() if "ridge-B-seed0" in line]
    assert any(file in line for line in lines)
    if words[0] == "verify":
        assert "qca-B-seed0" in out  # these records have no identity, so that each has a problem
    elif words[0] == "leaderboard" and "--output" in words:
        assert "qca" in (runs.parent / "board.html").read_text()
    else:
        assert "qca" in out


def test_nothing_sound_is_one_sentence_more(runs: Path) -> None:
    for path in runs.glob("*/*/record.json"):
        path.write_bytes(b"\x8a" + path.read_bytes()[1:])
    done = CliRunner().invoke(app, ["leaderboard", str(runs)])
    assert isinstance(done.exception, IntegrityError)
    assert "found 4 damaged" in str(done.exception)
    assert len(done.stderr.splitlines()) == 4
    for path in sorted(runs.glob("*/*/record.json"))[1:]:
        path.unlink()
    done = CliRunner().invoke(app, ["leaderboard", str(runs)])
    assert "delete its folder and run the cell again" in str(done.exception)
    assert done.stderr == ""


def test_a_run_names_a_damaged_record_runs_the_rest_and_leaves_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = []
    for i in range(3):
        write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"})
    card = write_card(tmp_path / "mine.yaml", "h5ad", entries)
    options = RunSettings(methods=("mean",), dataset=str(card), no_images=True)
    tasks = [planned.task for planned in make_plan(options).cells]
    for task in tasks:
        run_cell(task)
    path = tasks[0].folder / "record.json"
    flip(path, 200)
    damaged = path.read_bytes()
    shutil.rmtree(tasks[1].folder)
    monkeypatch.setattr("qbench.benchmark.engine.run.run_apart", lambda task, _event: run_cell(task))
    words = ["run", "-m", "mean", "--no-images", "--dataset", str(card)]
    assert "damaged" in call(*words, "--dry-run")[1]
    code, out, told = call(*words)
    assert code == 3
    assert f"damaged: Expected a qbench record in {path}" in told
    assert "n = 2" in out  # of three patients
    assert path.read_bytes() == damaged
    assert (tasks[1].folder / "record.json").is_file()
    shutil.rmtree(tasks[0].folder)
    assert call(*words)[0] == 0


def test_files_that_stayed_as_they_are_are_hashed_once_but_by_verify(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    path = next(iter(sorted(runs.glob("*/*/diagnostics.npz")))) if list(runs.glob("*/*/diagnostics.npz")) else None
    path = path or next(iter(sorted(runs.glob("*/*/scores.parquet"))))
    for each in runs.rglob("*"):
        os.utime(each, (1e9, 1e9))
    first = call("leaderboard", runs, "--format", "json")
    hashed: list[object] = []
    whole = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *words: hashed.append(words) or whole(*words))
    assert call("leaderboard", runs, "--format", "json") == first
    assert hashed == []
    flip(path, 40)
    os.utime(path, (1e9, 1e9))  # as a disk does it: no size, no time, no inode has changed
    code, _, _ = call("verify", runs)
    assert code == 3
    os.utime(path, (1e9, 1e9 + 1))
    code, _, told = call("leaderboard", runs, "--format", "json")
    assert code == 3
    assert path.name in told

"""The main job on a tiny dataset: run, resume, fail, rank; in real processes through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from qbench.files import remove_leftovers

from ...support.tiny_her2st import make as make_tiny

pytestmark = pytest.mark.slow

QBENCH = [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()"]

PLUGIN = '''
import os, time
import numpy as np
from qbench.methods.method import Inputs, Method

class Slow(Method):
    """Mean, slowly, or worse."""
    name = "slow"

    @classmethod
    def inputs(cls, parameters):
        return Inputs()

    def fit(self, train, validation, context):
        self.genes = train.genes
        if os.environ.get("BREAK") == "raise":
            raise RuntimeError("planted failure")
        if os.environ.get("BREAK") == "die":
            os.kill(os.getpid(), 9)
        time.sleep(float(os.environ.get("SLEEP", "0")))
        rng = np.random.default_rng(context.seed)
        self.mean = train.target.mean(axis=0) + rng.normal(0, 0.1, len(train.genes)).astype(np.float32)
        context.report(1, {"validation_mse": 1.0})

    def predict(self, section):
        if os.environ.get("BREAK") == "nan":
            return np.full((section.n_spots, len(self.genes)), np.nan, np.float32)
        return np.tile(self.mean, (section.n_spots, 1)).astype(np.float32)

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]


class Thief(Slow):
    """Looks for the truth of the test section in all that it is given."""
    name = "thief"

    def predict(self, section):
        found = [a for a in ("target", "counts", "expression") if hasattr(section, a)]
        found += [a for a in vars(section.store) if "count" in a or "dataset" in a or "target" in a]
        if found:
            raise RuntimeError("reached " + ", ".join(found))
        return super().predict(section)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_tiny(folder / "data")
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


def qbench(place: Path, *args: str, check: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*QBENCH, *args], cwd=place, env=environment(place, **env), capture_output=True, text=True, timeout=300
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def environment(place: Path, **extra: str) -> dict[str, str]:
    return {**os.environ, "QBENCH_CACHE": str(place / "cache"), "QBENCH_DATA": str(place / "data"), **extra}


def run_args(out: str, *methods: str) -> list[str]:
    return ["run", "--dataset", "her2st", "--plugin", "plugin.py:Slow", "--plugin", "plugin.py:Thief", "--out", out, "--methods",
            ",".join(methods)]  # fmt: skip


def records(place: Path, out: str) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted((place / out).glob("*/*/record.json"))]


def test_json_has_the_contract_shape_and_no_path_is_stored(place):
    done = qbench(place, *run_args("a", "colour", "mean", "slow"), "--seeds", "0,1", "--json")
    out = json.loads(done.stdout)
    assert out["schema"] == 1
    (table,) = out["tables"]
    assert {"protocol", "protocol_hash", "track", "dataset", "simulated", "rows"} <= set(table)
    rows = {row["method"]: row for row in table["rows"]}
    assert (rows["slow"]["n_seeds"], rows["mean"]["n_seeds"]) == (2, 1)
    assert all(row["n_patients"] == 4 and row["n_folds"] == 4 and row["failed"] == 0 for row in rows.values())
    assert set(rows["colour"]["pcc_hvg"]) == {"mean", "sd_patients", "sd_seeds"}
    assert rows["colour"]["pcc_hvg"]["mean"] > 0.1 > rows["mean"]["pcc_hvg"]["mean"]
    assert rows["slow"]["mse"]["sd_seeds"] > 0
    assert all(os.uname().nodename not in str(r["environment"]).split() for r in records(place, "a"))
    for path in (place / "a").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(place).encode() not in content, path


def test_second_run_reads_and_changes_nothing(place):
    before = {p: p.stat().st_mtime_ns for p in (place / "a").rglob("record.json")}
    done = qbench(place, *run_args("a", "colour", "mean", "slow"), "--seeds", "0,1")
    assert "16 done before, 0 to run" in done.stderr
    assert before == {p: p.stat().st_mtime_ns for p in (place / "a").rglob("record.json")}


def test_same_seed_gives_an_equal_record(place):
    qbench(place, *run_args("b", "colour", "mean", "slow"), "--seeds", "0,1")

    def equal(out: str) -> dict[str, tuple[str, str]]:
        return {r["cell"]: (r["hashes"]["predictions"], r["hashes"]["scores"]) for r in records(place, out)}

    assert len(equal("a")) == 16
    assert equal("a") == equal("b")


def test_stored_files_are_what_the_contract_says(place):
    import anndata
    import pandas as pd

    folder = next((place / "a").glob("*/colour-A-*"))
    data = anndata.read_h5ad(folder / "predictions.h5ad")
    assert data.X.dtype == np.float32
    assert data.layers["counts"].dtype == np.int64
    assert (data.layers["counts"] == np.rint(np.expm1(data.X.astype(np.float64)))).all()
    assert {"section", "patient", "library_size"} <= set(data.obs)
    scores = pd.read_parquet(folder / "scores.parquet")
    assert set(scores["level"]) == {"section", "patient"}
    record = json.loads((folder / "record.json").read_text())
    first = scores[(scores["level"] == "section") & (scores["section"] == "A1") & scores["hvg"]]
    assert record["scores"]["A1"]["pcc_hvg"] == pytest.approx(first["pcc"].mean())


def test_a_saved_method_loaded_elsewhere_predicts_the_same_bits(place):
    folder = next((place / "a").glob("*/colour-A-*"))
    code = f"""
import numpy as np, anndata
from pathlib import Path
from qbench.benchmark.engine.cohorts import seal
from qbench.benchmark.engine.inputs import prepare
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import Part
from qbench.datasets.registry import open_dataset
from qbench.leaderboard.record import PatchRecord
from qbench.methods.encoders.registry import resolve
from qbench.methods.registry import load_method
folder = Path({str(folder)!r})
cache = ArrayCache()
data = open_dataset("her2st", None, cache)
inputs = prepare(data, ["A1"], {{"rgb": resolve("rgb")}}, PatchRecord(size=224), cache)
method = load_method(folder / "model")
again = np.maximum(method.predict(seal(data.load("A1"), Part("A1"), method.genes, inputs)), 0)
stored = anndata.read_h5ad(folder / "predictions.h5ad")
assert (stored[(stored.obs["section"] == "A1").to_numpy()].X == again).all()
print("same bits")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(place), capture_output=True, text=True, timeout=300
    )
    assert "same bits" in done.stdout, done.stderr


@pytest.mark.parametrize(("how", "words"), [("raise", "planted failure"), ("nan", "finite"), ("die", "SIGKILL")])
def test_a_failing_method_is_recorded_shown_and_retried(place, how, words):
    out = f"fail-{how}"
    done = qbench(place, *run_args(out, "mean", "slow"), check=1, BREAK=how)
    failed = [r for r in records(place, out) if r["status"] == "failed"]
    assert len(failed) == 4
    assert all(words in r["failure"]["message"] for r in failed)
    assert "slow" in done.stdout
    (table,) = json.loads(qbench(place, "leaderboard", out, "--json").stdout)["tables"]
    row = next(r for r in table["rows"] if r["method"] == "slow")
    assert row["failed"] == 4
    assert row["pcc_hvg"]["mean"] is None
    kept = qbench(place, *run_args(out, "mean", "slow"), check=1)
    assert "8 done before" in kept.stderr
    qbench(place, *run_args(out, "mean", "slow"), "--retry-failed")
    assert all(r["status"] == "done" for r in records(place, out))


def test_the_test_section_is_sealed(place):
    qbench(place, *run_args("thief", "thief"))


@pytest.fixture(scope="module")
def undisturbed(place):
    qbench(place, *run_args("undisturbed", "mean", "slow"))
    return figures(place, "undisturbed")


def figures(place: Path, folder: str) -> list[tuple[str, object]]:
    tables = json.loads(qbench(place, "leaderboard", folder, "--json").stdout)["tables"]
    return [(row["method"], row["pcc_hvg"], row["mse"]) for table in tables for row in table["rows"]]


@pytest.mark.parametrize("moment", [0.5, 4.0, 6.5])
def test_killed_at_any_moment_it_goes_on_and_ends_the_same(place, undisturbed, moment):
    out = f"killed-{moment}"
    process = subprocess.Popen(
        [*QBENCH, *run_args(out, "mean", "slow")],
        cwd=place, env=environment(place, SLEEP="0.5"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    qbench(place, *run_args(out, "mean", "slow"))
    assert figures(place, out) == undisturbed
    assert not list((place / out).rglob("*.tmp"))


def test_what_ended_processes_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(1)  # not waited for: a zombie, as a killed cell stays where no init collects it
    left = [
        tmp_path / f".cell.{ended.pid}.tmp",
        tmp_path / f".cell.{ended.pid}-0123abcd.tmp",
        tmp_path / ".cell.99999999.tmp",
    ]
    kept = [tmp_path / f".cell.{os.getpid()}.tmp", tmp_path / "cell"]
    for folder in left + kept:
        folder.mkdir()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    ended.wait()

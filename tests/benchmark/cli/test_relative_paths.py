"""Paths relative to the folder of the command, for every option that takes one, through everything that runs cells or trials."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from qbench.benchmark.read_settings import read_settings
from qbench.benchmark.settings import RunSettings
from qbench.methods.encoders import registry as encoders
from qbench.methods.encoders.card import DEFAULT

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image
from ..engine.test_cluster import Node, two_nodes

pytestmark = pytest.mark.slow

__all__ = ["two_nodes"]

QBENCH = [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()"]
PLUGIN = '''
from pathlib import Path
import numpy as np
from pydantic import Field
from qbench.methods.method import Method, Parameters

class Settings(Parameters):
    alpha: float = Field(10.0, ge=0, description="Penalty.")

class Mine(Method):
    """Ridge on the run's features."""
    name = "mine"
    seeded = False
    Parameters = Settings

    def fit(self, train, validation, context):
        self.genes = train.genes
        x, y = np.asarray(train.features(), dtype=np.float64), train.target.astype(np.float64)
        gram = x.T @ x + self.parameters.alpha * np.eye(x.shape[1])
        self.weights = np.linalg.solve(gram, x.T @ y)

    def predict(self, section):
        return (np.asarray(section.features()) @ self.weights).astype(np.float32)

    def state(self):
        return {"weights": self.weights}

    def restore(self, state):
        self.weights = state["weights"]

class Broken(Mine):
    name = "broken"

    def fit(self, train, validation, context):
        (Path(__file__).parent / "absent" / "weights.bin").read_bytes()
'''
FLAGS = (
    "--dataset cards/mine.yaml --data-dir data --protocol cards/one.yaml --plugin code/my.py:Mine "
    "--encoder-weights efficientnet_lite0=weights/lite0.pth"
)
SCHEDULERS = {
    "apart": f"run -m mine,mean {FLAGS}",
    "config": "run -m mine,mean --config cards/run.yaml",
    "workers": "run -m mine,mean --config cards/run.yaml --workers 2",
    "sweep": f"sweep mine {FLAGS} --space cards/space.yaml --samples 2 --concurrent 1",
    "ablate": "ablate qca --config cards/run.yaml --max-epochs 1 --workers 2",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card, its data, a protocol, a plug-in, weights, a space and a config, each in a folder beside the others."""
    here = tmp_path_factory.mktemp("place")
    entries = []
    for i in range(3):
        write_h5ad(here / "data" / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        write_image(here / "data" / f"S{i}.png", seed=i)
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png"})
    (here / "cards").mkdir()
    write_card(here / "cards" / "mine.yaml", "h5ad", entries, folder="../data")
    (here / "cards" / "one.yaml").write_text(
        "{name: one, title: One fold, held_out: groups, unit: patient, folds: [{name: f, test: [P2], validation: [P1]}]}"
    )
    (here / "cards" / "space.yaml").write_text("{method: mine, parameters: {alpha: {choice: [10, 100, 1000]}}}")
    (here / "cards" / "run.yaml").write_text(
        "{dataset: cards/mine.yaml, protocol: cards/one.yaml, plugin: code/my.py:Mine, "
        "encoder-weights: efficientnet_lite0=weights/lite0.pth}"
    )
    (here / "code").mkdir()
    (here / "code" / "my.py").write_text(PLUGIN)
    (here / "weights").mkdir()
    name = DEFAULT
    shutil.copy(encoders._default_weights(name, encoders.card(name)), here / "weights" / "lite0.pth")
    return here


def command(place: Path, words: str, code: int = 0, **environment: str) -> str:
    """Run it in the folder, with a cache that is relative too."""
    env = {**os.environ, "QBENCH_CACHE": "cache", **environment}
    done = subprocess.run(
        [*QBENCH, *shlex.split(words)], cwd=place, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stderr


def records(runs: Path) -> dict[str, Any]:
    found = [json.loads(path.read_text()) for path in runs.glob("*/*/record.json")]
    return {record["method"]["label"]: record for record in found}


def holds_no_path(place: Path, runs: Path) -> None:
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert str(place).encode() not in path.read_bytes(), f"{path} holds a path of this machine"


@pytest.fixture(scope="module")
def scores(place: Path) -> Any:
    """Of the plug-in in cells of this command."""
    command(place, f"{SCHEDULERS['apart']} --out expected")
    return records(place / "expected")["mine"]["scores"]["S2"]


def same(found: Any, scores: Any) -> bool:
    return found["status"] == "done" and found["scores"]["S2"]["pcc_all"] == pytest.approx(scores["pcc_all"], abs=1e-5)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_relative_paths_reach_every_process(place: Path, scores: Any, scheduler: str) -> None:
    out = f"out/{scheduler}"
    command(place, f"{SCHEDULERS[scheduler]} --out {out}")
    found = records(place / out)
    if scheduler == "ablate":
        assert len(found) > 5
        assert all(record["status"] == "done" for record in found.values())
        (told,) = (place / out / "ablations").glob("*/ablation.json")
        assert all(table["ceiling"] for table in json.loads(told.read_text())["leaderboard"]["tables"])
    else:
        assert same(found["mine"], scores)
    if scheduler == "sweep":
        assert len(list((place / out / "sweeps").glob("*/trials/*/result.json"))) == 2
    holds_no_path(place, place / out)


def test_relative_paths_reach_a_cluster(place: Path, scores: Any, two_nodes: tuple[str, Node]) -> None:
    command(place, f"run -m mine,mean --config cards/run.yaml --ray-address {two_nodes[0]} --out out/ray")
    assert same(records(place / "out/ray")["mine"], scores)
    holds_no_path(place, place / "out/ray")


def test_the_folder_of_the_environment_may_be_relative(place: Path) -> None:
    """QBENCH_DATA, in a worker that was started elsewhere."""
    from ...support.tiny_her2st import make

    make(place / "tiny", sections=("A1", "B1", "C1"), side=3)
    command(place, "run -m mean --no-images --dataset her2st --workers 2 --out out/data", QBENCH_DATA="tiny")
    assert records(place / "out/data")["mean"]["status"] == "done"


def test_a_failure_is_recorded_without_a_path(place: Path) -> None:
    flags = FLAGS.replace("my.py:Mine", "my.py:Broken")
    command(place, f"run -m broken {flags} --out out/broken", code=1)
    failure = records(place / "out/broken")["broken"]["failure"]
    assert failure["message"] == "[Errno 2] No such file or directory: 'weights.bin'"
    for path in (place / "out/broken").rglob("*"):
        assert path.is_dir() or str(place).encode() not in path.read_bytes()


def test_every_option_that_names_a_file_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    given = {
        "dataset": "a.yml", "protocol": "b/c.yaml", "data_dir": Path("d"), "out": "e", "plugin": ["f.py:A", "pack.age:B"],
        "encoder_weights": ["x=g.pt,random", "y=~/h.pt", "z=random"],
    }  # fmt: skip
    options = read_settings(given, None)
    here = str(tmp_path)
    assert (options.dataset, options.protocol) == (f"{here}/a.yml", f"{here}/b/c.yaml")
    assert (options.data_dir, options.out) == (tmp_path / "d", tmp_path / "e")
    assert options.plugin == (f"{here}/f.py:A", "pack.age:B")
    assert options.encoder_weights == (f"x={here}/g.pt", "random", "y=/home/somebody/h.pt", "z=random")
    assert RunSettings().out == tmp_path / "runs"
    plain = RunSettings(dataset="demo", protocol="patient")
    assert (plain.dataset, plain.protocol, plain.data_dir) == ("demo", "patient", None)

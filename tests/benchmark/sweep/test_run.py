"""Sweeps in real processes on a tiny dataset: nested, killed and resumed, refused, on GPUs that Ray only counts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from qbench.benchmark.sweep.final import choose
from qbench.benchmark.sweep.scheduler import PerFold
from qbench.benchmark.sweep.trial_files import TrialResult

from ...support.processes import answers, finish, wait_for
from ...support.tiny_her2st import make as make_tiny

QBENCH = [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()"]
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]

# Predicts the training mean, off by 5 * shrink up and down in turn, which adds about 25 * shrink ** 2 to the MSE.
# Keeps a checkpoint of its epoch, as trained methods do.
PLUGIN = '''
import errno, json, os, time
from pathlib import Path
import numpy as np
from pydantic import Field
from qbench.errors import MethodError
from qbench.methods.method import Inputs, Method, Parameters
from qbench.methods.selection import validation_scores

HERE = Path(__file__).parent

class ToyParameters(Parameters):
    shrink: float = Field(0.5, ge=0, le=1, description="How far it is off.")
    epochs: int = Field(6, ge=1, description="Passes.")

class Toy(Method):
    """The training mean, approached in epochs."""
    name = "toy"
    Parameters = ToyParameters
    seconds = 0.0

    @classmethod
    def inputs(cls, parameters):
        return Inputs()

    def fit(self, train, validation, context):
        self.genes = train.genes
        self.look()
        kept = context.directory / "epoch.json"
        done = json.loads(kept.read_text()) if kept.exists() else 0
        first = None
        for epoch in range(done + 1, self.parameters.epochs + 1):
            self.note(train, epoch)
            self.mean = train.target.mean(axis=0) * (1 - 0.5**epoch)
            time.sleep(self.seconds)
            context.report(epoch, validation_scores(self.repeat(len(validation)), validation.target, validation.boundaries))
            kept.write_text(json.dumps(epoch))
        self.mean = train.target.mean(axis=0) * (1 - 0.5**self.parameters.epochs)
        context.selected_epoch = self.parameters.epochs

    def repeat(self, n):
        off = 5 * self.parameters.shrink * (1 - 2 * (np.arange(n) % 2))
        return (self.mean + off[:, None]).astype(np.float32)

    def note(self, train, epoch):
        with (HERE / "epochs.log").open("a") as file:
            place = "trial" if "QBENCH_DATA" not in os.environ else "cell"
            gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
            file.write(json.dumps([train.sections[0].id, self.parameters.shrink, epoch, os.getpid(), gpus, place]) + "\\n")

    def look(self):
        pass

    def predict(self, section):
        return self.repeat(section.n_spots)

    def n_parameters(self):
        return 0

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]


class Slow(Toy):
    """Takes its time."""
    name = "slow"
    seconds = 0.4


class Full(Toy):
    """Finds the disk full at its first checkpoint."""
    name = "full"

    def look(self):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise MethodError("The checkpoint cannot be written.") from error


class Frail(Toy):
    """Fails where shrink is large."""
    name = "frail"

    def look(self):
        if self.parameters.shrink > 0.6:
            raise MethodError("planted: shrink is too large")
'''

SPACE = "method: {name}\nparameters:\n  shrink: {{choice: [0, 0.25, 0.5, 0.75]}}\n"
NAMES = ("toy", "slow", "full", "frail")
TWO = "method: {name}\nparameters:\n  shrink: {{choice: [0, 0.75]}}\n"  # half the trials, where their number shows nothing


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("data"), side=4)


@pytest.fixture
def place(tmp_path: Path, data: Path) -> Path:
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "plugin.py").write_text(PLUGIN)
    for name in NAMES:
        (tmp_path / f"{name}.yaml").write_text(SPACE.format(name=name))
        (tmp_path / f"{name}-two.yaml").write_text(TWO.format(name=name))
    return tmp_path


def start(place: Path, method: str, *args: str) -> subprocess.Popen[str]:
    env = {
        **os.environ,
        "QBENCH_CACHE": str(place / "cache"),
        "QBENCH_DATA": str(place / "data"),
        "RAY_AUTH_MODE": "disabled",
        "COLUMNS": "200",
    }
    plugins = [f"--plugin=plugin.py:{name.capitalize()}" for name in NAMES]
    command = [*QBENCH, "sweep", method, "--dataset", "her2st", "--no-images", *plugins, *args]
    if "--space" not in args:
        command += ["--space", f"{method.partition('[')[0]}.yaml"]
    return subprocess.Popen(
        command, cwd=place, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def epochs(place: Path, where: str = "trial") -> list[list]:
    """[first training section, shrink, epoch, process, GPUs] of every epoch trained."""
    log = place / "epochs.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line for line in lines if line[5] == where]


def sweep_folder(place: Path) -> Path:
    (folder,) = [path for path in (place / "runs" / "sweeps").iterdir() if path.is_dir()]
    return folder


@pytest.mark.slow
def test_a_sweep_is_nested_and_leaves_what_the_docs_say(place: Path) -> None:
    out, err = finish(start(place, "toy", "--scheduler", "fifo", "--seeds", "0,1", "--concurrent", "2"))
    folder = sweep_folder(place)
    told = json.loads((folder / "sweep.json").read_text())
    assert told["trials_per_fold"] == 4
    assert told["trials"] == {"finished": 16, "stopped": 0, "failed": 0}
    assert {fold: c["settings"] for fold, c in told["chosen"].items()} == {f: {"shrink": 0} for f in "ABCD"}
    assert told["agreement"]["choices"] == {"shrink": {"0": 4}} or told["agreement"]["choices"] == {
        "shrink": {"0.0": 4}
    }
    assert told["agreement"]["rank_correlation"] == pytest.approx(1.0)
    import pandas as pd

    trials = pd.read_parquet(folder / "trials.parquet")
    assert len(trials) == 16
    assert sorted(trials["set:shrink"].unique()) == [0, 0.25, 0.5, 0.75]
    for fold, own in trials.sort_values("set:shrink").groupby("fold"):
        added = own["validation_mse"] - own["validation_mse"].iloc[0]
        assert added.to_numpy() == pytest.approx([0, 25 / 16, 25 / 4, 225 / 16], rel=0.05), fold
    for name in ("sensitivity.png", "sensitivity.svg", "parallel.png", "parallel.svg", "sweep.md"):
        assert (folder / name).stat().st_size > 200
    (table,) = told["leaderboard"]["tables"]
    assert table["ceiling"], "the counting-noise ceiling of the folds that were run"
    rows = {row["method"]: row for row in table["rows"]}
    assert set(rows) == {"toy", "toy tuned (4 trials)"}
    assert (rows["toy tuned (4 trials)"]["n_folds"], rows["toy tuned (4 trials)"]["n_seeds"]) == (4, 2)
    assert rows["toy tuned (4 trials)"]["mse"]["mean"] < rows["toy"]["mse"]["mean"]
    # Each trial trained its epochs once, in a process of its own.
    trained = epochs(place)
    assert set(Counter((e[0], e[1], e[2]) for e in trained).values()) <= {1, 2}  # two folds may share the first section
    assert len({e[3] for e in trained}) == 16
    assert "[16/16]" in err
    assert "tuned (4 trials)" in out
    for noise in ("raylet", "INFO", "WARNING", "dashboard", "Trainable", "View detailed"):
        assert noise not in err + out
    assert not list(folder.glob("views-*"))

    began = time.monotonic()
    finish(start(place, "toy", "--scheduler", "fifo", "--seeds", "0,1", "--concurrent", "2"))
    assert len(epochs(place)) == len(trained), "a finished sweep trains nothing again"
    assert time.monotonic() - began < 30

    # Another seed of the search is another sweep; more seeds of the final cells are not.
    _, err = finish(start(place, "toy", "--scheduler", "fifo", "--seeds", "1", "--concurrent", "2"), code=2)
    assert "method toy" not in err or "seed was 0, is 1" in err
    assert "seed was 0, is 1" in err
    assert "--new" in err
    (place / "toy.yaml").write_text(SPACE.format(name="toy").replace("0.75", "0.8"))
    _, err = finish(start(place, "toy", "--scheduler", "fifo", "--concurrent", "2"), code=2)
    assert "space shrink choice was" in err
    (place / "toy.yaml").write_text(SPACE.format(name="toy"))
    _, err = finish(start(place, "toy", "--scheduler", "fifo", "--sections", "A1,B1,C1,D1"), code=2)
    assert "A2 left the fold; B2 left the fold" in err


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(place: Path) -> None:
    first = start(place, "slow", "--space", "slow-two.yaml", "--scheduler", "fifo", "--concurrent", "2")
    wait_for(lambda: len(epochs(place)) >= 14)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = len(epochs(place))
    wait_for(lambda: not alive(epochs(place)), 60)  # its trials end with it
    at_kill = Counter((e[0], e[1]) for e in epochs(place))
    ended = list((place / "runs" / "sweeps").glob("*/trials/*/result.json"))
    assert before < 48 - 10
    assert ended
    finish(start(place, "slow", "--space", "slow-two.yaml", "--scheduler", "fifo", "--concurrent", "2"))
    told = json.loads((sweep_folder(place) / "sweep.json").read_text())
    assert told["trials"] == {"finished": 8, "stopped": 0, "failed": 0}
    # 8 trials of 6 epochs; the two that ran at the kill may repeat the epoch that they were in.
    assert 48 <= len(epochs(place)) <= 48 + 2
    assert sum(at_kill.values()) >= 14


def alive(lines: list[list]) -> bool:
    return any(Path(f"/proc/{pid}").exists() for pid in {line[3] for line in lines})


@pytest.mark.slow
def test_a_killed_trial_goes_on_where_it_was(place: Path) -> None:
    short = ("--space", "slow-two.yaml", "--sections", "A1,B1,C1,D1")
    process = start(place, "slow", "--scheduler", "fifo", "--concurrent", "2", *short)
    wait_for(lambda: len(epochs(place)) >= 5)
    victim = epochs(place)[-1]
    os.kill(victim[3], signal.SIGKILL)
    _, err = finish(process)
    assert "goes on from its checkpoint" in err
    told = json.loads((sweep_folder(place) / "sweep.json").read_text())
    assert told["trials"] == {"finished": 8, "stopped": 0, "failed": 0}
    assert len(epochs(place)) <= 48 + 1


@pytest.mark.slow
def test_asha_stops_weak_trials_and_the_best_one_is_chosen(place: Path) -> None:
    finish(start(place, "toy[epochs=18]", "--space", "toy.yaml", "--concurrent", "2"))
    told = json.loads((sweep_folder(place) / "sweep.json").read_text())
    assert told["trials"]["stopped"] > 0
    assert told["trials"]["failed"] == 0
    assert len(epochs(place)) < 16 * 18
    assert [c["settings"]["shrink"] for c in told["chosen"].values()] == [0] * 4


@pytest.mark.slow
def test_a_failed_trial_is_recorded_and_the_others_go_on(place: Path) -> None:
    finish(start(place, "frail", "--space", "frail-two.yaml", "--scheduler", "fifo", "--concurrent", "2"))
    told = json.loads((sweep_folder(place) / "sweep.json").read_text())
    assert told["trials"] == {"finished": 4, "stopped": 0, "failed": 4}
    assert "planted: shrink is too large" in (sweep_folder(place) / "sweep.md").read_text()


@pytest.mark.slow
def test_a_full_disk_ends_the_sweep_with_a_sentence(place: Path) -> None:
    _, err = finish(start(place, "full", "--concurrent", "2"), code=1)
    assert "The disk is full" in err
    assert "run the same command again" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_more_gpus_than_there_are_is_refused(place: Path) -> None:
    _, err = finish(start(place, "toy", "--gpus-per-trial", "2", "--concurrent", "1"), code=2)
    assert "--gpus-per-trial 2 is more than the" in err
    _, err = finish(start(place, "toy", "--gpus-per-trial", "some"), code=2)
    assert "--gpus-per-trial" in err
    _, err = finish(start(place, "toy", "--search", "grid", "--samples", "3"), code=2)
    assert "leave out --samples" in err
    _, err = finish(start(place, "toy", "--space", "slow.yaml"), code=2)
    assert "is for slow, not for toy" in err


@pytest.fixture
def gpu_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster of one node that says it has a GPU; Ray counts GPUs, it does not look for them."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    temporary = tempfile.mkdtemp(prefix="qray")
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [
        *RAY,
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=2",
        "--num-gpus=1",
        "--include-dashboard=false",
    ]
    node = subprocess.Popen(
        [*command, f"--temp-dir={temporary}"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: answers(f"127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.mark.slow
def test_trials_share_the_gpus_of_a_cluster(place: Path, gpu_cluster: str) -> None:
    finish(start(place, "toy", "--scheduler", "fifo", "--ray-address", gpu_cluster))
    trained = epochs(place)
    assert {e[4] for e in trained} == {"0"}, "each trial was given the one GPU, or its half"
    _, err = finish(
        start(place, "toy", "--scheduler", "fifo", "--ray-address", gpu_cluster, "--gpus-per-trial", "2", "--new"),
        code=2,
    )
    assert "more than the 1 GPUs" in err


def test_asha_stops_after_a_ninth_and_a_third_of_the_epochs_and_nowhere_else() -> None:
    tasks = [SimpleNamespace(fold=fold) for fold in ("A", "A", "A", "B")]
    stopped: list[SimpleNamespace] = []
    scheduler = PerFold(tasks, True, 18, stopped.append)
    trials = [SimpleNamespace(config={"trial": i}, trial_id=str(i)) for i in range(4)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)

    def told(trial: int, figure: Callable[[int], float]) -> list[int]:
        """Epochs at which a trial of this best figure so far would be stopped."""
        results = ({"trial": trial, "epoch": epoch, "figure": figure(epoch)} for epoch in range(1, 19))
        return [r["epoch"] for r in results if scheduler.on_trial_result(None, trials[trial], r) == "STOP"]

    assert told(0, lambda epoch: 0.5 if epoch < 17 else 0.1) == []
    # Better than the first at both rungs, and not at its last epoch, at which there is nothing left to save.
    assert told(1, lambda _epoch: 0.4) == []
    assert told(2, lambda _epoch: 0.6) == [2, 6]
    assert told(3, lambda _epoch: 0.9) == [], "it is the first of its fold"
    assert stopped == [tasks[2]] * 2


def test_only_a_trial_that_came_to_its_own_end_is_chosen() -> None:
    def result(number: int, status: str, mse: float | None, pcc: float | None) -> TrialResult:
        return TrialResult(fold="A", number=number, settings={}, status=status, validation_mse=mse, validation_pcc=pcc)

    results = [
        result(0, "stopped", 0.1, 0.9),
        result(1, "failed", None, None),
        result(2, "finished", 0.4, 0.6),
        result(3, "finished", 0.3, 0.5),
        result(4, "finished", 0.3, 0.6),
    ]
    for select, due in (("mse", 3), ("pcc", 2)):
        sweep = SimpleNamespace(folds=("A",), results=results, options=SimpleNamespace(select=select))
        assert choose(sweep)["A"].number == due

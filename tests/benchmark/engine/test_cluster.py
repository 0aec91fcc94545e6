"""Cells through Ray: on this machine and on a real cluster of two nodes, with workers and nodes that die in mid-run."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from qbench.benchmark.engine.ray_session import check_cluster
from qbench.errors import ConfigurationError

from ...support.processes import answers, finish, wait_for
from ...support.tiny_her2st import make as make_tiny

QBENCH = [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()"]
RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
Hashes = dict[str, tuple[str | None, str | None]]  # of predictions and scores, by cell
DATA = ["--dataset", "her2st", "--data-dir", "data", "--no-images", "--plugin", "plugin.py:Slow", "-m", "slow"]

# Each cell leaves a note of who runs it, then waits for the file "go".
PLUGIN = '''
import os, sys, time
from pathlib import Path
import numpy as np
from qbench.methods.method import Inputs, Method

HERE = Path(__file__).parent

class Slow(Method):
    """Mean with noise, once it is told to go on."""
    name = "slow"

    @classmethod
    def inputs(cls, parameters):
        return Inputs()

    def fit(self, train, validation, context):
        self.genes = train.genes
        (HERE / "seen").mkdir(exist_ok=True)
        note = f"{os.getpid()} {os.getppid()} {os.environ.get('RAY_RAYLET_PID')} {str(HERE) in sys.path}"
        (HERE / "seen" / f"{train.sections[0].id}-{os.getpid()}").write_text(note)
        for _ in range(400):
            if (HERE / "go").exists():
                break
            time.sleep(0.05)
        if (HERE / "deadly").exists() and train.sections[0].id == "B1":
            os.kill(os.getpid(), 9)
        rng = np.random.default_rng(context.seed)
        self.mean = (train.target.mean(axis=0) + rng.normal(0, 0.1, len(train.genes))).astype(np.float32)
        context.report(1, {"validation_mse": 1.0})

    def predict(self, section):
        return np.tile(self.mean, (section.n_spots, 1))

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("data"), side=4)


def prepare(folder: Path, data: Path) -> Path:
    (folder / "data").symlink_to(data)
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


@pytest.fixture
def place(tmp_path: Path, data: Path) -> Path:
    return prepare(tmp_path, data)


def start(place: Path, *args: str) -> subprocess.Popen[str]:
    env = {**os.environ, "QBENCH_CACHE": str(place / "cache"), "RAY_AUTH_MODE": "disabled", "COLUMNS": "200"}
    return subprocess.Popen(
        [*QBENCH, "run", *DATA, *args], cwd=place, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def seen(place: Path) -> list[list[str]]:
    """Notes of the cells that began: process, its parent, its node."""
    return [path.read_text().split() for path in (place / "seen").glob("*") if path.read_text()]


def results(runs: Path) -> Hashes:
    found = {}
    for path in runs.glob("*/*/record.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "done", record["failure"]
        found[path.parent.name] = (record["hashes"]["predictions"], record["hashes"]["scores"])
    return found


@dataclass
class Node:
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """All processes of this node and of no other."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_node(*args: str) -> Node:
    env = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [*RAY, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *args]
    return Node(
        subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    )


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes of one CPU each, and the second node."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    temporary = tempfile.mkdtemp(prefix="qray")  # short, for the paths of sockets
    address = f"127.0.0.1:{free_port()}"
    head = start_node(
        "--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={temporary}"
    )
    nodes = [head]
    try:
        wait_for(lambda: answers(address))
        nodes.append(start_node(f"--address={address}"))
        yield address, nodes[1]
    finally:
        for node in nodes:
            if node.process.poll() is None:
                node.kill()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Hashes:
    """What a sequential run gives, one thread a cell."""
    place = prepare(tmp_path_factory.mktemp("sequential"), data)
    (place / "go").touch()
    finish(start(place, "--out", "runs"))
    return results(place / "runs")


@pytest.mark.slow
def test_two_workers_give_the_records_of_a_sequential_run(place: Path, expected: Hashes) -> None:
    process = start(place, "--workers", "2", "--out", "parallel")
    wait_for(lambda: len(seen(place)) == 2)
    (place / "go").touch()
    out, err = finish(process)
    assert results(place / "parallel") == expected
    assert len(expected) == 4
    stored = [path.read_bytes() for path in (place / "parallel").rglob("*") if path.is_file()]
    assert not any(str(place).encode() in content for content in stored), "no file holds a path of this machine"
    notes = seen(place)
    assert len({note[0] for note in notes}) == 4, "each cell has a process of its own"
    assert all(note[3] == "False" for note in notes), "the folder of the command is not on the cells' path"
    assert "[4/4]" in err
    for noise in ("raylet", "INFO", "WARNING", "dashboard", "usage stat"):
        assert noise not in err + out


@pytest.mark.slow
def test_a_killed_worker_loses_no_cell(place: Path, expected: Hashes) -> None:
    process = start(place, "--workers", "2", "--out", "parallel")
    wait_for(lambda: len(seen(place)) == 2)
    host = host_of(int(seen(place)[0][0]))
    os.kill(host, signal.SIGKILL)
    wait_for(lambda: len(seen(place)) >= 3)
    (place / "go").touch()
    _, err = finish(process)
    assert "Its worker died. It is run once more." in err
    assert results(place / "parallel") == expected


def host_of(pid: int) -> int:
    """The Ray worker above a cell's process (cell -> fork server -> worker)."""
    for _ in range(2):
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(next(line for line in status.splitlines() if line.startswith("PPid:")).split()[1])
    return pid


@pytest.mark.slow
def test_a_cell_that_kills_its_process_twice_is_recorded_as_failed(place: Path) -> None:
    (place / "go").touch()
    (place / "deadly").touch()
    _, err = finish(start(place, "--workers", "2", "--out", "parallel"), code=1)
    records = [json.loads(path.read_text()) for path in (place / "parallel").glob("*/*/record.json")]
    failed = [record for record in records if record["status"] == "failed"]
    assert len(records) == 4
    assert [record["fold"]["name"] for record in failed] == ["D"]  # the one that trains on B1 first
    assert failed[0]["failure"]["type"] == "ProcessDied"
    assert "SIGKILL" in failed[0]["failure"]["message"]
    assert err.count("It is run once more") == 1


@pytest.mark.slow
def test_a_killed_node_loses_no_cell(place: Path, two_nodes: tuple[str, Node], expected: Hashes) -> None:
    address, second = two_nodes
    process = start(place, "--workers", "2", "--ray-address", address, "--out", "parallel")
    wait_for(lambda: len({note[2] for note in seen(place)}) == 2)  # a cell on each node
    node = psutil.Process(second.process.pid).children(recursive=True)
    next(process for process in node if process.name() == "raylet").kill()
    time.sleep(2.0)  # what is left of the node tells the command, on pages
    (place / "go").touch()
    out, err = finish(process)
    assert results(place / "parallel") == expected
    assert "[4/4]" in err
    assert "raylet" not in out + err


@pytest.mark.slow
def test_no_cluster_at_the_address_is_one_sentence(place: Path) -> None:
    began = time.monotonic()
    _, err = finish(start(place, "--ray-address", f"127.0.0.1:{free_port()}", "--out", "parallel"), code=2)
    assert time.monotonic() - began < 60
    assert "No Ray cluster answers at 127.0.0.1:" in err
    assert "ray start --head" in err
    assert "Traceback" not in err


def test_something_else_at_the_address_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbench.benchmark.engine.ray_session.JOIN_SECONDS", 6.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ConfigurationError, match=r"Something listens at .* no Ray cluster let us in within 6 s"):
            check_cluster(f"127.0.0.1:{listener.getsockname()[1]}")


@pytest.mark.parametrize("address", ["ray://host:10001", "host", "127.0.0.1:", ":6379"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="Expected --ray-address HOST:PORT"):
        check_cluster(address)

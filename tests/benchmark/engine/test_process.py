"""A function in a process of its own: how far it may be ahead, and how its death is told."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from qbench.benchmark.engine import process
from qbench.benchmark.engine.process import ProcessDied, events, warm

TARGETS = """
import os, signal
from pathlib import Path

def work(folder, send):
    for step in range(1, 6):
        (Path(folder) / f"step-{step}").touch()
        send("step", {"number": step})

def sends_and_dies(_, send):
    send("step", {"number": 1})
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "targets_of_a_process.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("targets_of_a_process")


def test_a_process_is_at_most_one_step_ahead_of_who_listens(tmp_path: Path, targets: ModuleType) -> None:
    steps = tmp_path / "steps"
    steps.mkdir()
    with contextlib.closing(events(targets.work, str(steps))) as sent:
        for _, values in sent:
            time.sleep(0.3)  # time enough to run on
            if values["number"] == 2:
                break
    assert sorted(p.name for p in steps.iterdir()) == ["step-1", "step-2", "step-3"]


def test_all_steps_arrive_where_nobody_stops(tmp_path: Path, targets: ModuleType) -> None:
    assert [values["number"] for _, values in events(targets.work, str(tmp_path))] == [1, 2, 3, 4, 5]


def test_what_a_process_sent_before_it_died_arrives_first(targets: ModuleType) -> None:
    sent = events(targets.sends_and_dies, "")
    assert next(sent) == ("step", {"number": 1})
    with pytest.raises(ProcessDied, match="signal 9"):
        next(sent)


def test_a_server_started_before_serves_the_first_process_and_leaves_the_caller_as_it_was(
    tmp_path: Path, targets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from multiprocessing import forkserver

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    warm()
    server = forkserver._forkserver._forkserver_pid
    warm()
    assert "OMP_WAIT_POLICY" not in os.environ
    assert [values["number"] for _, values in events(targets.work, str(tmp_path))] == [1, 2, 3, 4, 5]
    assert forkserver._forkserver._forkserver_pid == server is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_a_process_has_been_told_what_to_do(number: signal.Signals) -> None:
    told: list[str] = []

    class Process:
        def start(self) -> None:
            os.kill(os.getpid(), number)
            for _ in range(100):  # time for the other thread to take it
                time.sleep(0.001)
            told.append("all")

    def stop(_number: int, _frame: object) -> None:
        told.append("stopped")
        raise KeyboardInterrupt

    other = threading.Thread(target=time.sleep, args=(0.5,))  # takes what the main thread does not
    other.start()
    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            process._start(Process())
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
        other.join()
    assert told == ["all", "stopped"]


@pytest.mark.slow
def test_a_killed_server_of_processes_is_one_sentence() -> None:
    code = (
        "import os, signal\n"
        "from multiprocessing import forkserver\n"
        "from qbench.benchmark.engine.process import events\n"
        "from qbench.errors import QbenchError\n"
        "start = forkserver.connect_to_new_process\n"
        "def killed(fds):\n"
        "    forkserver._forkserver.ensure_running()\n"
        "    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)\n"
        "    forkserver._forkserver.ensure_running = lambda: None\n"
        "    return start(fds)\n"
        "forkserver.connect_to_new_process = killed\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        list(events(print, ''))\n"
        "    except QbenchError as error:\n"
        "        print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("1 Expected the helper process that starts cells to live, but it was killed"), (
        done.stderr
    )

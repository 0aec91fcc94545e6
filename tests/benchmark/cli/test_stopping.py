"""Ctrl-C and SIGTERM end a command with one line, wherever it is; paths that cannot be are one sentence."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from qbench.benchmark.cli import entry

from ...support.datasets_sections import counts, grid, write_card, write_h5ad
from ...support.leaderboard_runs import make_runs

START = [sys.executable, "-P", "-c", "from qbench.benchmark.cli.start import main; main()"]


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*START, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.15, 0.5, 2.0, 4.0, 7.0])
def test_a_signal_is_one_line_and_leaves_no_process(tmp_path: Path, number: signal.Signals, seconds: float) -> None:
    with start(["run", "-m", "mean,ridge", "--out", "runs"], tmp_path) as process:
        time.sleep(seconds)
        if process.poll() is None:
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        began = time.monotonic()
        _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    assert time.monotonic() - began < 20  # seconds, on a busy machine; a second or two on an idle one
    if process.returncode > 0:
        assert process.returncode == 128 + number
        assert told.strip().splitlines()[-1].startswith("Stopped")
    else:  # it had ended, or had not begun
        assert process.returncode in (0, -number)
    with pytest.raises(ProcessLookupError):
        _wait_for_group(process.pid)


def test_a_signal_while_c_code_waits_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def app() -> None:
        raise SystemError("<cyfunction wait> returned a result with an exception set") from entry.Stopped(
            signal.SIGTERM
        )

    monkeypatch.setattr(entry, "app", app)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err.startswith("Stopped by SIGTERM; what is done is kept")


def test_a_signal_that_was_swallowed_on_the_way_is_told_again() -> None:
    code = (
        "import os, signal, time\n"
        "from qbench.benchmark.cli import entry\n"
        "def app():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(5)\n"
        "    except BaseException:\n"
        "        print('swallowed', flush=True)\n"
        "    time.sleep(50)\n"
        "entry.app, entry._AGAIN = app, 0.3\n"
        "entry.main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=40)
    assert (done.stdout, done.returncode) == ("swallowed\n", 128 + signal.SIGTERM), done.stderr
    assert done.stderr == "Stopped by SIGTERM; what is done is kept, the same command goes on from here.\n"


def _wait_for_group(group: int) -> None:
    """Raises ProcessLookupError as soon as nobody of a process group lives; children end within five seconds."""
    for _ in range(100):
        os.killpg(group, 0)
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_fork_server_is_one_sentence_and_the_run_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    entries = []
    for i in range(3):
        write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"})
    write_card(tmp_path / "mine.yaml", "h5ad", entries)
    words = ["run", "-m", "mean", "--no-images", "--dataset", "mine.yaml"]
    for seconds in (0.0, 0.5, 1.0, 2.0):
        with start(words, tmp_path) as process:
            _kill_fork_server(process, seconds)
            _, told = process.communicate(timeout=300)
        if process.returncode:
            break
        shutil.rmtree(tmp_path / "runs")  # killed before a cell had asked for it, another was started: a sound run
    assert process.returncode == 1, told
    assert told.splitlines()[-1].startswith(
        "error: Expected the helper process that starts cells to live, but it was killed"
    )
    assert "Traceback" not in told
    assert "Aborted" not in told
    with pytest.raises(ProcessLookupError):
        _wait_for_group(process.pid)
    with start(words, tmp_path) as process:
        _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told


def _kill_fork_server(process: subprocess.Popen[str], seconds: float) -> None:
    """Kill it some seconds after it is there: it imports for seconds before it starts a cell."""
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        for child in psutil.Process(process.pid).children():
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                time.sleep(seconds)
                child.kill()
                return
        time.sleep(0.05)
    raise AssertionError("no fork server was started")


def test_a_page_at_the_root_of_all_folders_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_runs(tmp_path / "runs", {"ridge": 0.5}, patients="A", sections=1)
    monkeypatch.setattr(sys, "argv", ["qbench", "leaderboard", str(tmp_path / "runs"), "-o", "/"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        entry.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(
        "error: Expected a path that can be used, but /: it is the root of all folders"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["run", "-m", "mean", "--dataset", "x" * 5000 + ".yaml"],
        ["protocol", "export", "--to", "/dev/null/x"],
    ],
)
def test_a_path_that_cannot_be_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run([*START, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "error: Expected a path that can be used, but" in done.stderr
    assert len(done.stderr) < 600

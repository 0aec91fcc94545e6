"""A Ray that dies under a command ends it with one sentence, and nothing stays behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from qbench.benchmark.engine.ray_watch import all_ending_with_us

CODE = """
import os, sys, time
import psutil
from qbench.benchmark.engine.ray_session import ray_session
if __name__ == "__main__":
    with ray_session(None, 1):
        import ray
        assert ray.get(ray.remote(lambda: 41).remote()) == 41
        names = {p.name(): p for p in psutil.Process().children(recursive=True)}
        print("PIDS", *[p.pid for p in psutil.Process().children(recursive=True)], flush=True)
        names.get(sys.argv[1], psutil.Process()).kill()
        waits = ray.remote(lambda: time.sleep(600)).remote()
        while True:
            ray.wait([waits], timeout=1.0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_killed_ray_process_is_one_sentence(name: str) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", CODE, name], capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 1, done.stderr
    assert lines[-1].startswith(f"error: Expected Ray's {name} on this machine to live, but it was killed")
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert left_of(done.stdout) == []


BOTH = """
import subprocess, sys, time
import psutil
from qbench.benchmark.engine import ray_watch
dying = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
ray_watch._processes = lambda marks: [psutil.Process(one.pid) for one in dying]
end = ray_watch.os._exit
ray_watch.os._exit = lambda code: (time.sleep(1), end(code))  # as long as the other one has to speak
with ray_watch.ending_with_ray("session", "raylet", None):
    dying[0].kill()
    time.sleep(60)
"""


def test_what_the_first_death_takes_along_is_not_told_again() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", BOTH], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_of_its_ray() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", CODE, "itself"], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert left_of(done.stdout) == []


def left_of(printed: str) -> list[psutil.Process]:
    """What still runs, 5 seconds later, of the processes that a command said it had."""
    [pids] = [line.split()[1:] for line in printed.splitlines() if line.startswith("PIDS")]
    assert len(pids) > 5
    _, alive = psutil.wait_procs([psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))], timeout=5)
    return [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


ORPHANED = """
import os, subprocess, sys
from qbench.benchmark.engine.ray_watch import all_ending_with_us
from pathlib import Path
with all_ending_with_us(Path(sys.argv[1])):
    # Its parent ends at once, so it is nobody's child, and it leads a session of its own.
    subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], cwd=sys.argv[1])
    os.kill(os.getpid(), int(sys.argv[2])) if sys.argv[2] != "0" else None
"""


@pytest.mark.parametrize("number", [0, signal.SIGKILL])
def test_an_orphan_in_the_folder_ends_with_the_command(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "rays"
    folder.mkdir()
    words = [sys.executable, "-P", "-c", ORPHANED, str(folder), str(int(number))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == -number, done.stderr
    pid = int(done.stdout)
    gone = [psutil.Process(pid)] if psutil.pid_exists(pid) else []
    _, alive = psutil.wait_procs(gone, timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_what_works_elsewhere_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "rays"
    (folder / "inner").mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"], cwd=folder / "inner") as other:
        with all_ending_with_us(folder):
            pass
        assert other.poll() is None
        assert os.getpid() != other.pid
        other.kill()
    assert not folder.exists()

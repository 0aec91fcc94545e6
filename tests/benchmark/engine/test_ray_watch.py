"""A Ray that dies under a command ends it with one sentence, and nothing stays behind."""

import os
import subprocess
import sys

import psutil
import pytest

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
        names[sys.argv[1]].kill()
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
    [pids] = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PIDS")]
    _, alive = psutil.wait_procs([psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))], timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert os.getpid() not in map(int, pids)

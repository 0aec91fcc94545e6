"""A Ray of our own is this machine's alone."""

import subprocess
import sys

import pytest

CODE = """
import psutil
from qbench.benchmark.engine.ray_session import ray_session
if __name__ == "__main__":
    with ray_session(None, 1):
        import ray  # which takes the token when it is loaded
        assert ray.get(ray.remote(lambda: 41).remote()) == 41
        me = psutil.Process()
        places = [c.laddr.ip for p in [me, *me.children(recursive=True)] for c in p.net_connections() if c.status == "LISTEN"]
        print("AT", *sorted(set(places)))
"""


@pytest.mark.slow
def test_our_own_ray_listens_at_this_machine_alone() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("AT")]
    assert set(line.split()[1:]) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert len(line.split()) > 1

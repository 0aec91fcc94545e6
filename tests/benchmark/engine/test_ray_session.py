"""A Ray of our own is this machine's alone."""

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from qbench.benchmark.engine import ray_session
from qbench.errors import ConfigurationError

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


@pytest.mark.parametrize(("token", "mode", "told"), [(True, "token", ""), (False, None, "did not let us in")])
def test_a_token_is_used_where_the_cluster_demands_one(
    token: bool, mode: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("of the head")

    def probed(_address: str) -> subprocess.CompletedProcess[str]:
        refused = os.environ.get("RAY_AUTH_MODE") != "token"
        return subprocess.CompletedProcess([], int(refused), "", "InvalidAuthToken")

    monkeypatch.setattr(ray_session, "_probed", probed)
    monkeypatch.setattr(socket, "create_connection", lambda *_: socket.socket())
    with pytest.raises(ConfigurationError, match=told) if told else nullcontext():
        ray_session.check_cluster("127.0.0.1:6379")
    assert os.environ.get("RAY_AUTH_MODE") == mode


@pytest.mark.parametrize("raised", [Exception("the node timed out\nduring startup"), OSError("no more files")])
def test_a_ray_that_does_not_start_is_one_sentence(raised: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: object) -> None:
        raise raised

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # so that no token stays in the environment
    monkeypatch.setattr("ray.init", fails)
    with (
        pytest.raises(ConfigurationError, match=r"^Ray could not be started here: .*; see docs/cluster.md") as found,
        ray_session.ray_session(None, 1),
    ):
        pytest.fail("there is no session")
    assert "\n" not in str(found.value)

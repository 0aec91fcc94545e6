"""Processes that tests start: waiting for them, and for what they do."""

import subprocess
import time
from collections.abc import Callable

from qbench.benchmark.engine.ray_session import check_cluster
from qbench.errors import ConfigurationError


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    """What a process has said, once it has ended with that exit code."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"{out}\n{err}"
    return out, err


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something holds; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def answers(address: str) -> bool:
    """Whether a Ray cluster lets us in at HOST:PORT."""
    try:
        check_cluster(address)
    except ConfigurationError:
        return False
    return True

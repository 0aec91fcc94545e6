"""A connection to Ray: one started for this command alone, or a cluster that is there already."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from .ray_watch import all_ending_with_us, ending_with_ray

REACH_SECONDS = 5.0  # for a TCP connection
JOIN_SECONDS = 30.0  # for a cluster to let us in; Ray itself would try for two minutes, then end the process
OBJECT_STORE = 256 * 2**20  # bytes; arrays travel as memory-mapped files, so little passes through it

# Read when Ray is imported, by this process and by all that it starts.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_INIT": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # else a dead node is reported on stdout, state dump and all
    "RAY_worker_niceness": "0",  # Ray's 15 would let every other process of the machine go first
}
_PROBE = """
import logging, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
"""


@dataclass(frozen=True)
class RaySession:
    """What is there to work with: logical CPUs and GPUs of all nodes; `address` None is our own Ray."""

    address: str | None
    cpus: float
    gpus: float


_current: dict[str, RaySession] = {}  # of this process


@contextlib.contextmanager
def ray_session(address: str | None, cpus: int | None = None) -> Iterator[RaySession]:
    """Connect to the cluster at `address`, or start a Ray of `cpus` logical CPUs that ends with this command.

    Inside another session it is that one. Ray's own messages, its dashboard and its usage statistics stay off.

    Raises:
        ConfigurationError: no cluster answers at the address, or it does not let us in.
    """
    if (session := _current.get("session")) is not None:
        yield session
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is not None:
        check_cluster(address)
    else:
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "10")  # nobody restarts a Ray of our own
        if "RAY_AUTH_MODE" not in os.environ:
            # A Ray of our own lets in nobody else; Ray keeps the first token of a process, and would write one to the home folder.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    local: dict[str, Any] = {
        "address": "local",
        "num_cpus": cpus,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE,
    }
    wanted: dict[str, Any] = local if address is None else {"address": address}
    with contextlib.ExitStack() as held:
        # As long as the session: workers start in it.
        empty = held.enter_context(tempfile.TemporaryDirectory(prefix="qbench-", ignore_cleanup_errors=True))
        guard = held.enter_context(all_ending_with_us(Path(empty))) if address is None else None
        try:
            # Ray puts the folder that it is started in on the workers' path, where it could shadow packages.
            with contextlib.chdir(empty), _own_signals(), _reached_by(here_alone=address is None):
                ray.init(**wanted, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # a bare one where its node takes too long to start
            raise ConfigurationError(
                f"Ray could not be started here: {_last_line(str(error))}; see docs/cluster.md, or run without --workers."
            ) from error
        try:
            node: Any = ray._private.worker.global_worker.node
            with ending_with_ray(node.session_name, node.raylet_socket_name, guard):
                found = ray.cluster_resources()
                _current["session"] = RaySession(address, found.get("CPU", 0.0), found.get("GPU", 0.0))
                yield _current["session"]
        finally:
            _current.clear()
            ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What this process does on a signal stays: Ray would end it without a word."""
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _reached_by(here_alone: bool) -> Iterator[None]:
    """Have a Ray of our own listen at 127.0.0.1 only, as Ray itself does where it starts no clusters (macOS, Windows)."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not here_alone
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def check_cluster(address: str) -> None:
    """Make sure that a Ray cluster answers at `HOST:PORT`, within a time that a person waits.

    Raises:
        ConfigurationError: no such address, nothing there, or a cluster that does not let us in, and why.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ConfigurationError(
            f"Expected --ray-address HOST:PORT as 'ray start --head' prints it, found '{address}'; "
            "ray:// addresses do not work, run qbench on a node of the cluster."
        )
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"No Ray cluster answers at {address} ({getattr(error, 'strerror', None) or error}); "
            "start one with 'ray start --head --port=6379', or check the address."
        ) from error
    done = _probed(address)
    if done.returncode != 0 and "RAY_AUTH_MODE" not in os.environ and has_token():
        # 'ray start --head' takes the token that it finds; who names an address has to say so.
        os.environ["RAY_AUTH_MODE"] = "token"
        again = _probed(address)
        if again.returncode == 0:
            return
        del os.environ["RAY_AUTH_MODE"]
    if done.returncode != 0:
        raise ConfigurationError(
            f"The Ray cluster at {address} did not let us in: {_last_line(done.stderr)}; this machine must be one of its nodes "
            f"(ray start --address={address}), with the same versions of Ray and Python; {_auth_hint()}"
        )


def _probed(address: str) -> subprocess.CompletedProcess[str]:
    """Ray kills the process whose first connection fails, so the first one is another process's."""
    command = [sys.executable, "-c", _PROBE, address]
    try:
        with tempfile.TemporaryDirectory(prefix="qbench-") as empty:
            return subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=JOIN_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"Something listens at {address}, but no Ray cluster let us in within {JOIN_SECONDS:.0f} s; {_auth_hint()}"
        ) from error


def has_token() -> bool:
    """Whether this user has a token of a Ray cluster, where Ray looks for one."""
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(file).is_file()


def shared_environment() -> dict[str, str]:
    """What the processes on other nodes must know of this one's environment, with absolute paths."""
    names = ("QBENCH_CACHE", "QBENCH_DATA")
    return {name: str(Path(os.environ[name]).absolute()) for name in names if os.environ.get(name)}


def adopt(environment: Mapping[str, str]) -> None:
    """Take over `shared_environment` of the command in a worker, before anything heavy is imported there."""
    os.environ.update(environment)
    # Threads that spin while they wait starve the worker on the other core.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _auth_hint() -> str:
    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    return f"set RAY_AUTH_MODE alike on all nodes and here (here it is {mode}; see docs/cluster.md)."


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason given").rstrip(".")[:300]

"""A call in a process with bounds on time and memory, and what became of it."""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from qbench.errors import QbenchError
from qbench.names import shown

SECONDS = 30.0  # of the processor
WAIT = 120.0  # seconds that pass: a machine may be busy, but nothing waits for ever
MEMORY = 3 << 29  # bytes, beyond what the process has


def outcome(call: Callable[[], str], log: Path) -> str:
    """ "accepted", "changed" (another answer than "" ), "refused" (one sentence), or what went wrong."""
    child = os.fork()
    if child == 0:
        os._exit(_child(call, log))
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
                return f"hung ({SECONDS:.0f} s of the processor)"
            if os.WIFSIGNALED(status):
                return f"crashed ({signal.Signals(os.WTERMSIG(status)).name})"
            return {0: "accepted", 1: "changed", 2: "refused", 3: "several lines"}.get(
                os.WEXITSTATUS(status), "traceback"
            )
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"hung ({WAIT:.0f} s)"


def _child(call: Callable[[], str], log: Path) -> int:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(time.process_time() + SECONDS), resource.getrlimit(resource.RLIMIT_CPU)[1])
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        return int(call() != "")
    except QbenchError as error:
        told = shown(str(error), keep="")  # as the command line prints it
        print(told, flush=True)
        return 2 if len(told.splitlines()) == 1 and "\x1b" not in told and len(told) < 3000 else 3
    except BaseException:  # noqa: BLE001 - what became of it is the answer
        traceback.print_exc()
        return 4

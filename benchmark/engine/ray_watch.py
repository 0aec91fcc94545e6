"""What Ray cannot do without on this machine is watched: Ray itself would end a command whose raylet died without a word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

GUARD_SECONDS = 10.0  # for what was killed to be gone


@contextmanager
def all_ending_with_us(folder: Path) -> Iterator[int]:
    """While the block runs, a guard waits: when the block is over, or this process is killed, what works in `folder` ends.

    Ray's helpers are the raylet's children, keep the folder that Ray was started in, and outlive a killed raylet by a minute.

    Args:
        folder: where a Ray of our own is started, and nothing else works; it is removed, too.

    Yields:
        The guard's process id.
    """
    # A session of its own, where no signal for this command reaches it.
    command = [sys.executable, "-P", __file__, str(folder.resolve())]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True) as its:
        yield its.pid


@contextmanager
def ending_with_ray(session: str, raylet: str, guard: int | None) -> Iterator[None]:
    """While the block runs, the death of our raylet, or of the head where it is here, ends the command with one sentence.

    Args:
        session: Ray's name of the session, which stands on the head's command line.
        raylet: the socket of the raylet that we are connected to, which stands on its own; another node may be here, too.
        guard: the process that ends what is left of a Ray of our own, or None where Ray is not ours.
    """
    over, first = threading.Event(), threading.Lock()
    for process in _processes({"gcs_server": session, "raylet": raylet}):
        threading.Thread(target=_watch, args=(process, process.name(), guard, over, first), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _processes(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Those of a name on whose command line its mark stands."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of other users, or gone meanwhile
            mark = marks.get(process.name())
            # The whole word: another node here has the socket "raylet.1" beside our "raylet".
            if mark is not None and any(word.rpartition("=")[2] == mark for word in process.cmdline()):
                found.append(process)
    return found


def _watch(process: psutil.Process, name: str, guard: int | None, over: threading.Event, first: threading.Lock) -> None:
    process.wait()
    # Whoever is told of the first death ends the other one, too, which is no second sentence.
    if over.is_set() or not first.acquire(blocking=False):
        return
    show = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live display has hidden the cursor
    print(
        f"{show}error: Expected Ray's {name} on this machine to live, but it was killed; is the machine out of memory? Free some, "
        "and run the same command again: what is done is kept.",
        file=sys.stderr,
        flush=True,
    )
    for child in psutil.Process().children(recursive=True):
        if child.pid != guard:
            with suppress(psutil.Error):
                child.kill()
    os._exit(1)  # the main thread may wait inside Ray for ever


def working_in(folder: str) -> list[psutil.Process]:
    """The processes of this machine whose working folder it is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of other users, or gone meanwhile
            if process.cwd() == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def stand_guard(folder: str) -> None:
    """Wait until whoever started us closes our input or is gone; then end what works in the folder, and remove it."""
    sys.stdin.read()
    deadline = time.monotonic() + GUARD_SECONDS
    while (left := working_in(folder)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=1.0)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    stand_guard(sys.argv[1])

"""What Ray cannot do without on this machine is watched: Ray itself would end a command whose raylet died without a word."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def ending_with_ray(session: str, raylet: str) -> Iterator[None]:
    """While the block runs, the death of our raylet, or of the head where it is here, ends the command with one sentence.

    Args:
        session: Ray's name of the session, which stands on the head's command line.
        raylet: the socket of the raylet that we are connected to, which stands on its own; another node may be here, too.
    """
    over = threading.Event()
    for process in _processes({"gcs_server": session, "raylet": raylet}):
        threading.Thread(target=_watch, args=(process, process.name(), over), daemon=True).start()
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


def _watch(process: psutil.Process, name: str, over: threading.Event) -> None:
    process.wait()
    if over.is_set():
        return
    show = "\x1b[?25h" if sys.stderr.isatty() else ""  # a live display has hidden the cursor
    print(
        f"{show}error: Expected Ray's {name} on this machine to live, but it was killed; is the machine out of memory? Free some, "
        "and run the same command again: what is done is kept.",
        file=sys.stderr,
        flush=True,
    )
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(1)  # the main thread may wait inside Ray for ever

"""The one way to open an HDF5 file: looked through by a process of its own first, every failure one sentence."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import DataError, reading
from .files import check_regular

if TYPE_CHECKING:
    import h5py


@contextmanager
def open_hdf5(path: Path, what: str, remedy: str) -> Iterator[h5py.File]:
    """An HDF5 file, open for reading; what fails while it is open is of the file, too.

    Args:
        path: the file.
        what: the file is to be: "predictions".
        remedy: what to do where it is not; the last words of the sentence.

    Raises:
        DataError: no HDF5, damaged, leading out of itself, or stating more than its bytes can hold.
    """
    import h5py

    with reading(what, path, remedy):
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            yield file


def check_hdf5(path: Path) -> None:
    """Have a file looked through in another process, once as long as it stays as it is.

    Raises:
        OSError: not a regular file.
        DataError: it is not sound (the words of a part of a sentence).
    """
    check_regular(path)
    known = path.stat()
    state = (known.st_size, known.st_mtime_ns, known.st_ino)
    place = str(path.absolute())
    if _sound.get(place) != state:
        if found := _checker.ask(place):
            raise OSError(found)
        _sound[place] = state


class _Checker:
    """The process that looks through files: started when first asked, and anew where one died of a file."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(self, path: str) -> str:
        """What is wrong with a file, or nothing."""
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # a fork has no part in its parent's talk
                self._process, self._owner = self._start(), os.getpid()
            process = self._process
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(path) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if answer:
                return str(json.loads(answer))
            self._process = None
            code = process.wait()
            if code == -signal.SIGPROF:
                return "it leads the reader in circles"
            if code < 0:
                return f"it makes the HDF5 library crash ({signal.Signals(-code).name})"
            raise DataError(
                f"Expected to look through {path} in another process, but that ended with code {code}; run the command again."
            )

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("hdf5_check.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is not its to handle
        )
        atexit.register(_end, process, os.getpid())
        return process


def _end(process: subprocess.Popen[str], owner: int) -> None:
    if os.getpid() == owner and process.poll() is None:
        process.kill()
        process.wait()


_checker = _Checker()
_sound: dict[str, tuple[int, int, int]] = {}

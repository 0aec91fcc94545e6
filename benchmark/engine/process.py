"""A function in a process of its own: its peak memory is its own, a crash takes nothing along, and it ends with its parent.

The processes are forked from a server that has imported the heavy packages once, so none of them pays for that.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import psutil

from ...errors import QbenchError, reason

# What nearly every process needs. torch._dynamo is what a process's first optimiser imports, half of what torch takes.
PRELOAD = (
    "anndata", "pandas", "pyarrow.parquet", "scipy.sparse", "torch", "torch._dynamo", "qbench.benchmark.engine.cell",
    "qbench.benchmark.sweep.trial",
)  # fmt: skip

# Threads that spin while they wait starve the process on the other core; has to be set before torch is loaded.
_WAITING = ("OMP_WAIT_POLICY", "PASSIVE")

Send = Callable[[str, Mapping[str, Any] | str], None]
Target = Callable[[str, Send], None]


class ProcessDied(Exception):
    """The process ended by a signal (`code` below zero) or with an error."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        )
        self.code = code


def events(target: Target, payload: str) -> Generator[tuple[str, Any], None, None]:
    """Run `target(payload, send)` and yield what it sends as (kind, values); closing the iterator kills the process.

    The process is at most one step ahead: `send` waits until all that was sent before has been dealt with, so closing
    the iterator after an event loses no more work than was done since that event.

    Raises:
        ProcessDied: after what it had sent, if it ended before `target` returned.
    """
    os.environ.setdefault(*_WAITING)
    context = _context()
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(target, payload, theirs), daemon=True)
    _start(process)
    theirs.close()
    died = False
    try:
        while (sent := ours.recv()) is not None:
            yield sent
            with contextlib.suppress(OSError):  # it has died; what it sent before is still read
                ours.send(None)
        process.join()
    except (EOFError, ConnectionResetError):
        died = True
    finally:
        if process.is_alive() and not died:
            process.kill()
        process.join()
        ours.close()
    if died:
        raise ProcessDied(process.exitcode or 0)


def warm() -> None:
    """Start the server that processes are forked from: it imports, for seconds, while the caller does something else.

    Nothing where it runs already, or where processes are not forked from one. What it imports it may still be importing
    when the first process is asked for, which then waits for the rest.
    """
    context = _context()
    if context.get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    own = os.environ.get(_WAITING[0])
    os.environ.setdefault(*_WAITING)
    try:
        with _deaf():
            forkserver.ensure_running()
    finally:
        if own is None:
            del os.environ[_WAITING[0]]  # the caller's own threads stay as they are


def _context() -> Any:
    """How processes are started: forked from a server that has imported `PRELOAD`, where the system has that."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(list(PRELOAD))
    return context


def _start(process: Any) -> None:
    """Start a process; a server that it is forked from is started where there is none, deaf to Ctrl-C.

    Raises:
        QbenchError: the server was killed.
    """
    served = _context().get_start_method() == "forkserver"
    try:
        warm()
        # What is forked from the server is deaf as it is; here a signal is heard while the server still imports.
        with _uninterrupted(), contextlib.nullcontext() if served else _deaf():
            process.start()
    except (EOFError, OSError) as error:
        found = QbenchError(
            f"Expected the helper process that starts cells to live, but it was killed ({reason(error)}); is this machine out of "
            "memory? Free some, and run the same command again: what is done is kept."
        )
        found.exit_code = 1
        raise found from error


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal that comes inside is dealt with afterwards: a process that was half told what to do ends in a traceback.

    Blocking it in this thread would not do: another one takes it, and its handler runs here all the same.
    """
    main = threading.current_thread() is threading.main_thread()
    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM) if main else ()
    before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    came: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        _end_server()

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in came[:1]:
            before[number](number, frame)


def _end_server() -> None:
    """End the server where there is one: it is deaf, and whoever waits for its imports would wait for seconds."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            if any("multiprocessing.forkserver" in word for word in child.cmdline()):
                child.kill()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What is started inside is deaf to Ctrl-C."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else it would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _main(target: Target, payload: str, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    gc.freeze()  # what the server imported is no garbage, and looking through it takes .25 s each time

    dealt_with = threading.Semaphore()

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                connection.recv()
                dealt_with.release()
        os._exit(1)

    def send(kind: str, values: Mapping[str, Any] | str) -> None:
        dealt_with.acquire()
        connection.send((kind, values))

    threading.Thread(target=watch, daemon=True).start()
    target(payload, send)
    connection.send(None)

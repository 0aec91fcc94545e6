"""Cells in processes of their own, one after another: their peak memory is theirs, and a crash takes nothing along.

The processes are forked from a server that has imported the heavy packages once, so a cell does not pay for them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from ..errors import QbenchError
from ..leaderboard.record import Failure, Record
from .cell import Event, record_crash, run_cell
from .task import CellTask

# Imported once by the server that cells are forked from: what nearly every cell needs. torch._dynamo is what a
# process's first optimiser imports, half of what torch itself takes.
PRELOAD = ("anndata", "pandas", "pyarrow.parquet", "scipy.sparse", "torch", "torch._dynamo", "qbench.benchmark.cell")


class CellRunner:
    """Runs cells in fresh processes; use it as a context so that nothing is left behind."""

    def __init__(self) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(list(PRELOAD))
        self._process: multiprocessing.process.BaseProcess | None = None

    def __enter__(self) -> CellRunner:
        # Threads that spin while they wait starve the other core's cell; has to be set before torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def run(self, task: CellTask, event: Event) -> Record:
        """Run one cell; a process that dies gives a failed record.

        Raises:
            QbenchError: what stops the whole run (data, integrity, a full disk), as raised in the cell.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_main, args=(task.model_dump_json(), theirs), daemon=True)
        self._process = process
        process.start()
        theirs.close()
        while True:
            try:
                kind, payload = ours.recv()
            except EOFError:
                break
            if kind == "record":
                process.join()
                return Record.model_validate_json(payload)
            if kind == "stop":
                process.join()
                raise rebuild(payload)
            event(kind, payload)
        process.join()
        code = process.exitcode or 0
        reason = (
            f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
        )
        hint = "; out of memory? Try fewer spots a batch, or a smaller encoder" if code == -signal.SIGKILL else ""
        return record_crash(
            task, Failure(type="ProcessDied", message=f"The cell's process {reason}{hint}.", traceback="")
        )


def rebuild(payload: Mapping[str, Any]) -> QbenchError:
    error = QbenchError(payload["message"])
    error.exit_code = payload["exit_code"]
    return error


def _main(task_json: str, connection: Connection) -> None:
    """The cell's process: ends at once when the process that asked for it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            connection.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    send: Callable[[tuple[str, Any]], None] = connection.send
    try:
        record = run_cell(CellTask.model_validate_json(task_json), lambda kind, values: send((kind, dict(values))))
        send(("record", record.model_dump_json(by_alias=True)))
    except QbenchError as error:
        send(("stop", {"message": str(error), "exit_code": error.exit_code}))
    except Exception as error:  # noqa: BLE001 - a defect of the harness reaches the parent with its traceback
        traceback.print_exc(file=sys.stderr)
        send(
            (
                "stop",
                {"message": f"{type(error).__name__}: {error} (a defect in qbench; please report it)", "exit_code": 1},
            )
        )

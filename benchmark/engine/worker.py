"""A cell in a process of its own: what it reports, its record, or why it or the whole run failed."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from ...errors import QbenchError
from ...leaderboard.record import Failure, Record
from .cell import Event, record_crash, run_cell
from .process import ProcessDied, Send, events
from .task import CellTask


def run_apart(task: CellTask, event: Event) -> Record:
    """Run one cell in a fresh process; a process that dies gives a failed record.

    Raises:
        QbenchError: what stops the whole run (data, integrity, a full disk), as raised in the cell.
    """
    record: Record | None = None
    try:
        with contextlib.closing(events(_cell, task.model_dump_json())) as sent:
            for kind, payload in sent:
                if kind == "record":
                    record = Record.model_validate_json(payload)
                elif kind == "stop":
                    raise rebuild(payload)
                else:
                    event(kind, payload)
    except ProcessDied as died:
        hint = "; out of memory? Try fewer spots a batch, or a smaller encoder" if died.code == -signal.SIGKILL else ""
        message = f"The cell's process {died}{hint}."
        return record_crash(task, Failure(type="ProcessDied", message=message, traceback=""))
    assert record is not None, "a cell's process sends its record, or the reason to stop, before it ends"
    return record


def rebuild(payload: Mapping[str, Any]) -> QbenchError:
    """The error that a cell's process sent, with its message and exit code; its class stays behind."""
    error = QbenchError(payload["message"])
    error.exit_code = payload["exit_code"]
    return error


def _cell(task: str, send: Send) -> None:
    """In the cell's process."""
    try:
        record = run_cell(CellTask.model_validate_json(task), lambda kind, values: send(kind, dict(values)))
        send("record", record.model_dump_json(by_alias=True))
    except QbenchError as error:
        send("stop", {"message": str(error), "exit_code": error.exit_code})
    except Exception as error:  # noqa: BLE001 - a defect of the harness reaches the parent with its traceback
        traceback.print_exc(file=sys.stderr)
        message = f"{type(error).__name__}: {error} (a defect in qbench; please report it)"
        send("stop", {"message": message, "exit_code": 1})

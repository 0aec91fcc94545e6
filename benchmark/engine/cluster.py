"""Cells through Ray, on the cores of this machine or on a cluster; their records equal those of a sequential run.

A worker is a Ray actor that runs one cell after another, each in a process of its own, as without Ray.
The runs folder, the cache and the data must be the same folders on every node.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from ...errors import ConfigurationError, QbenchError
from ...leaderboard.record import Failure, Record
from ...version import __version__
from ..settings import RunSettings
from .cell import record_crash
from .ray_session import RaySession, adopt, ray_session, shared_environment
from .reporter import Reporter
from .task import CellTask
from .worker import rebuild, run_apart

ATTEMPTS = 2  # a cell that takes two workers down is recorded as failed
PATIENCE = 30.0  # seconds without any worker before the user is told why nothing happens


def run_on_ray(tasks: Sequence[CellTask], options: RunSettings, reporter: Reporter) -> dict[str, Record]:
    """Run cells on `--workers` processes of this machine, or on the cluster at `--ray-address`.

    A cell whose worker or process dies is run once more; after the second time it is recorded as failed.

    Returns:
        The record of each cell, by the cell's hash.

    Raises:
        ConfigurationError: no cluster, or nodes on which this qbench cannot be imported.
        QbenchError: what stops the whole run, as in a sequential one.
    """
    cpus = None if options.ray_address else min(options.workers or 1, len(tasks))
    with ray_session(options.ray_address, cpus) as session:
        return _Crew(session, tasks, options, reporter).run()


class CellHost:
    """Runs cells on a node; the class of the Ray actor."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        adopt(environment)
        # multiprocessing would import the parent's main script into every cell: here Ray's worker, of no use there.
        vars(sys.modules["__main__"]).pop("__file__", None)

    def version(self) -> str:
        """The qbench of this node; answering also says that the host is up."""
        return __version__

    def run(self, task: str) -> Iterator[tuple[str, Any]]:
        """Run one cell (JSON of a `CellTask`); yields its events, and at the end ("record", JSON) or ("stop", why)."""
        events: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        threading.Thread(target=self._run, args=(CellTask.model_validate_json(task), events), daemon=True).start()
        while True:
            kind, payload = events.get()
            yield kind, payload
            if kind in {"record", "stop"}:
                return

    def _run(self, task: CellTask, events: SimpleQueue[tuple[str, Any]]) -> None:
        try:
            record = run_apart(task, lambda kind, values: events.put((kind, dict(values))))
            events.put(("record", record.model_dump_json(by_alias=True)))
        except QbenchError as error:
            events.put(("stop", {"message": str(error), "exit_code": error.exit_code}))
        except Exception as error:  # noqa: BLE001 - reaches the user as one sentence, wherever the node is
            message = f"{type(error).__name__}: {error} (a defect in qbench; please report it)"
            events.put(("stop", {"message": message, "exit_code": 1}))


class _Crew:
    """The workers, and which cell is where."""

    def __init__(
        self, session: RaySession, tasks: Sequence[CellTask], options: RunSettings, reporter: Reporter
    ) -> None:
        self._session, self._options, self._reporter = session, options, reporter
        self._waiting = deque(tasks)
        self._attempts: Counter[str] = Counter()
        self._records: dict[str, Record] = {}
        self._starting: dict[Any, Any] = {}  # reference of the first answer -> worker
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, CellTask]] = {}  # stream of events -> worker, cell
        self._failed_starts = 0
        self._last_worker = time.monotonic()
        self._told = False

    def run(self) -> dict[str, Record]:
        import ray

        while self._waiting or self._busy:
            self._hire()
            while self._idle and self._waiting:
                self._assign(self._idle.pop(), self._waiting.popleft())
            watched = [*self._starting, *self._busy]
            ready, _ = ray.wait(watched, num_returns=1, timeout=1.0) if watched else ([], [])
            for reference in ready:
                if reference in self._starting:
                    self._welcome(reference)
                else:
                    self._listen(reference)
            self._explain_waiting()
        return self._records

    def _hire(self) -> None:
        """As many workers as cells are left, up to --workers, or to the CPUs that the cluster has now."""
        import ray

        wanted = self._options.workers or max(1, int(self._session.cpus))
        left = len(self._waiting) + len(self._busy)
        have = len(self._starting) + len(self._idle) + len(self._busy)
        for _ in range(min(wanted, left) - have):
            resources = {"num_cpus": 1.0, "num_gpus": self._gpu_share(wanted)}
            host: Any = ray.remote(CellHost).options(**resources, max_restarts=0, scheduling_strategy="SPREAD")
            worker: Any = host.remote(shared_environment())
            self._starting[worker.version.remote()] = worker

    def _gpu_share(self, workers: int) -> float:
        if not any(task.device == "cuda" for task in self._waiting) or not self._session.gpus:
            return 0.0
        return min(1.0, int(100 * self._session.gpus / workers) / 100 or 0.01)

    def _welcome(self, reference: Any) -> None:
        import ray

        worker = self._starting.pop(reference)
        try:
            version = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts > ATTEMPTS * max(1, int(self._session.cpus)):
                reason = str(error).strip().splitlines()[-1]
                raise ConfigurationError(
                    f"No worker can be started: {reason}; install this qbench in the Python of every node."
                ) from error
            return
        if version != __version__:
            raise ConfigurationError(
                f"Expected qbench {__version__} on every node, found {version} on one; install the same version there."
            )
        self._failed_starts = 0
        self._idle.append(worker)

    def _assign(self, worker: Any, task: CellTask) -> None:
        self._attempts[task.cell] += 1
        self._reporter.cell_started(task, "")
        stream = worker.run.options(num_returns="streaming").remote(task.model_dump_json())
        self._busy[stream] = (worker, task)

    def _listen(self, stream: Any) -> None:
        import ray

        worker, task = self._busy[stream]
        try:
            kind, payload = ray.get(next(stream))
        except ray.exceptions.RayTaskError:
            raise
        except (ray.exceptions.RayError, StopIteration) as error:
            del self._busy[stream]
            ray.kill(worker)
            self._lost(task, None, isinstance(error, ray.exceptions.OutOfMemoryError))
            return
        if kind == "record":
            del self._busy[stream]
            self._idle.append(worker)
            record = Record.model_validate_json(payload)
            if record.failure is not None and record.failure.type == "ProcessDied":
                self._lost(task, record)
            else:
                self._done(task, record)
        elif kind == "stop":
            raise rebuild(payload)
        else:
            self._reporter.cell_event(task, kind, payload)

    def _lost(self, task: CellTask, record: Record | None, memory: bool = False) -> None:
        """A cell whose worker (no record; of its memory?) or own process died: once more, or recorded as failed."""
        where = f"{task.title} · fold {task.fold.name} · seed {task.seed}"
        if self._attempts[task.cell] < ATTEMPTS:
            reason = record.failure.message if record is not None and record.failure else f"{_why(memory)}."
            self._reporter.note(f"{where}: {reason} It is run once more.")
            self._waiting.appendleft(task)
            return
        if record is None:
            message = f"{_why(memory)}, {ATTEMPTS} times; give its node more memory, or fewer workers, or try fewer spots a batch."
            record = record_crash(task, Failure(type="WorkerDied", message=message, traceback=""))
        self._done(task, record)

    def _done(self, task: CellTask, record: Record) -> None:
        self._records[task.cell] = record
        self._reporter.cell_done(task, record)

    def _explain_waiting(self) -> None:
        if self._busy:
            self._last_worker, self._told = time.monotonic(), False
        elif not self._told and time.monotonic() - self._last_worker > PATIENCE:
            self._told = True
            self._reporter.note(
                f"Waiting for a worker: none of the cluster's {self._session.cpus:g} CPUs is free, or its nodes are gone."
            )


def _why(memory: bool) -> str:
    return "Its worker was ended for want of memory" if memory else "Its worker died"

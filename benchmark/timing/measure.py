"""How a benchmark measures: alternating runs, medians, the memory of the process, and what the machine can do at most."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

RUNS = 5


@dataclass(frozen=True)
class Row:
    """One line of `qbench bench`.

    Attributes:
        ours, plain: medians in `unit`; plain None where nobody would write an alternative.
        ratio: how many times better ours is, above 1 when it is, whatever the unit's direction.
        limit_share: share of the machine's measured limit (of matrix products, or of memory) that ours reaches.
    """

    name: str
    ours: float
    plain: float | None
    ratio: float | None
    unit: str
    limit_share: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row as `bench --json` prints it."""
        return asdict(self)


def rate(name: str, unit: str, amount: float, ours: float, plain: float, limit: float | None = None) -> Row:
    """A row in `amount` per second, from seconds; `limit` is the highest rate that the machine allows."""
    return Row(
        name, amount / ours, amount / plain, plain / ours, unit, None if limit is None else amount / ours / limit
    )


def less(name: str, unit: str, ours: float, plain: float | None) -> Row:
    """A row of which less is better."""
    return Row(name, ours, plain, None if plain is None else plain / ours, unit)


@dataclass(frozen=True)
class Measured:
    """Median seconds of each side, and the highest memory of the process (MB) while it ran."""

    ours: float
    plain: float
    ours_mb: float
    plain_mb: float


def alternate(ours: Callable[[], Any], plain: Callable[[], Any], runs: int = RUNS) -> Measured:
    """Run both in turn, after one run of each that is not counted, so that a busy neighbour burdens both alike."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    memory = {"ours": 0.0, "plain": 0.0}
    for turn in range(runs + 1):
        for side, work in (("ours", ours), ("plain", plain)):
            _release()
            with PeakMemory() as peak:
                start = time.perf_counter()
                work()
                spent = time.perf_counter() - start
            memory[side] = max(memory[side], peak.mb)
            if turn:
                seconds[side].append(spent)
    return Measured(
        statistics.median(seconds["ours"]), statistics.median(seconds["plain"]), memory["ours"], memory["plain"]
    )


def _release() -> None:
    """Give freed memory back to the system, or the peak of what ran before would stand for what runs next."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


class PeakMemory:
    """Highest resident memory of this process in MB between entering and leaving, looked at every 5 ms."""

    mb = 0.0

    def __enter__(self) -> PeakMemory:
        import psutil

        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._look()
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self._look()

    def _look(self) -> None:
        self.mb = max(self.mb, self._process.memory_info().rss / 1e6)


@cache
def matmul_limit(dtype: Literal["bf16", "fp16", "fp32", "tf32"], device: str = "cpu") -> float:
    """Floating point operations per second of a large matrix product through torch, the best in two seconds.

    Whether float32 is rounded to TF32 is torch's setting, which the caller makes.
    """
    import torch

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(dtype, torch.float32)
    n = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
    best = float("inf")
    end = time.perf_counter() + 2.0
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


@cache
def memory_limit() -> float:
    """Bytes per second that one thread reads from memory: a sum over 256 MB in float64, the best of five."""
    values = np.ones(1 << 25)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        values.sum()
        best = min(best, time.perf_counter() - start)
    return values.nbytes / best

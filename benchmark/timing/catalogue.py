"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import unknown
from .measure import Row


def measure(name: str, runtime: str = "auto", device: str = "auto", profile: str = "fast") -> list[Row]:
    """Run one benchmark; only what it needs is imported. `runtime` is that of encoders, `profile` of trained methods.

    Raises:
        ConfigurationError: no such benchmark, or a runtime that is not there.
    """
    from . import encode, predict, read, retrieve, score, sweep, train

    known: dict[str, Callable[[], list[Row]]] = {
        "encode": lambda: encode.rows(runtime, device),
        "train": lambda: train.rows(profile, device),
        "retrieve": retrieve.rows,
        "score": score.rows,
        "sweep": sweep.rows,
        "read": read.rows,
        "predict": lambda: predict.rows(runtime, device),
    }
    if name not in known:
        raise unknown("benchmark", name, known)
    return known[name]()

"""The promise that predictions depend on a section's inputs alone: no names, no files, no test expression."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .subject import CLOSE, Broken, Subject, gap

_DATA = (".h5ad", ".tsv", ".csv", ".gz", ".parquet", ".h5", ".npz")


def is_blind(subject: Subject) -> None:
    """Predict the same spots under another section, patient and spot name, and watch which files are opened.

    Raises:
        Broken: a data file was read, or a name changed a prediction.
    """
    test, store = subject.data.test, subject.data.store
    renamed = replace(test, id="a1 again", store=store.holding("a1 again", store.held))
    for disguise in (
        replace(renamed, patient="A"),
        replace(renamed, patient="nobody", spots=tuple(f"spot{i}" for i in range(test.n_spots))),
    ):
        with _files_read() as opened:
            found = subject.method.predict(disguise)
        if opened:
            raise Broken(f"predict read {Path(opened[0]).name}; all that it may see is the section that it is given")
        if gap(found, subject.prediction) > CLOSE:
            raise Broken(
                "the same spots under another section, patient or spot name are predicted otherwise; predict from "
                "section.features(), patches() and coordinates alone"
            )


@contextmanager
def _files_read() -> Iterator[list[str]]:
    """Names of data files that are opened meanwhile, outside installed packages."""
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | bytes):
            name = arguments[0].decode(errors="replace") if isinstance(arguments[0], bytes) else arguments[0]
            if name.lower().endswith(_DATA) and "site-packages" not in name:
                opened.append(name)

    sys.addaudithook(hook)  # cannot be taken away again, so it is told to look elsewhere
    try:
        yield opened
    finally:
        watching = False

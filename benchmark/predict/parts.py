"""Predictions window by window beside the output: what is done survives a kill, and memory holds one window."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...array_files import read_array
from ...errors import DataError
from ...files import write_text, written
from ...text_files import read_json, read_text
from .grid import Points

_IDENTITY = "identity.json"


def array_sha256(values: NDArray[np.float32]) -> str:
    """sha256 (hex) of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


class Parts:
    """Predictions of single windows beside the output, kept until it is complete; those of another task are removed."""

    def __init__(self, output: Path, identity: str) -> None:
        self.folder = output.with_name(f".{output.name}.parts")
        mark = self.folder / _IDENTITY
        try:
            mine = mark.is_file() and read_json(mark, "the identity of a prediction", "it is made again") == identity
        except DataError:
            mine = False  # a kill or damage: what belongs to nobody known is made again
        if not mine:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_text(mark, json.dumps(identity))

    def path(self, window: int) -> Path:
        """The .npy file of one window's predictions."""
        return self.folder / f"window-{window:06d}.npy"

    def save(self, window: int, values: NDArray[np.float32]) -> None:
        """Keep one window's predictions, float32 (spots, genes)."""
        with written(self.path(window)) as temporary, temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)
            write_text(self._checksum(window), f"{array_sha256(values)}\n")

    def done(self, window: int, shape: tuple[int, int]) -> bool:
        """Whether a window's predictions lie there as they were saved; others are removed, to be made again."""
        try:
            what, remedy = "predictions of a window", "they are made again"
            if self.path(window).exists():
                found = read_array(self.path(window), what, remedy, mapped=True)
                due = read_text(self._checksum(window), what, remedy).strip()
                if found.shape == shape and found.dtype == np.float32 and array_sha256(found) == due:
                    return True
        except DataError:
            pass  # as damaged as a hash that differs
        self.path(window).unlink(missing_ok=True)
        return False

    def _checksum(self, window: int) -> Path:
        return self.path(window).with_suffix(".sha256")

    def load(self, window: int) -> NDArray[np.float32]:
        """One window's predictions, mapped from the disk."""
        found: NDArray[np.float32] = np.load(self.path(window), mmap_mode="r", allow_pickle=False)
        return found

    def remove(self) -> None:
        """Delete every part, once the output holds them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def blocks(self, points: Points, size: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """All predictions in the order of the output, up to `size` points at a time: which, and float32 (n, genes)."""
        place = np.empty(len(points), dtype=np.intp)  # of each point in its window's part
        for number in range(int(points.windows.max()) + 1):
            rows = points.rows(number)
            place[rows] = np.arange(len(rows))
        for start in range(0, len(points), size):
            part = slice(start, min(start + size, len(points)))
            windows = points.windows[part]
            loaded = {int(number): self.load(int(number)) for number in np.unique(windows)}
            prediction = np.empty((len(windows), next(iter(loaded.values())).shape[1]), dtype=np.float32)
            for number, values in loaded.items():
                prediction[windows == number] = values[place[part][windows == number]]
            yield part, prediction

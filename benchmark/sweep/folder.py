"""The folder of a sweep: known by the hash of all that decides its trials, so that the same command goes on where it was."""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...datasets.hashing import canonical_hash
from ...errors import ConfigurationError
from ...files import write_text
from ...text_files import read_json
from ..engine.changes import differences

IDENTITY = "identity.json"
VERSION = 2  # raised when trials are run or judged in another way


@contextlib.contextmanager
def sweep_folder(out: Path, start: str, identity: Mapping[str, Any], new: bool) -> Iterator[Path]:
    """The folder of the sweep with this identity, locked; made if there is none.

    Args:
        out: the runs folder.
        start: of the folder's name: sweeps that only differ in identity share it.
        identity: all that decides the sweep's trials; its hash ends the folder's name.
        new: begin afresh: trials of an earlier sweep of this identity are removed, others are left as they are.

    Raises:
        ConfigurationError: another sweep stands there and `new` is not given (names what changed), or it is running.
    """
    parent = out / "sweeps"
    key = canonical_hash(dict(identity))
    folder = parent / f"{start}-{key[:12]}"
    if not new and not (folder / IDENTITY).is_file():
        others = [
            path
            for path in parent.glob(f"{glob.escape(start)}-*/{IDENTITY}")
            if len(path.parent.name) == len(folder.name)
        ]
        if others:
            last = max(others, key=lambda path: path.stat().st_mtime)
            changed = differences(read_json(last, "a sweep's identity", "remove its folder, or add --new"), identity)
            raise ConfigurationError(
                f"This is another sweep than the one in {last.parent}: {'; '.join(changed)}. Put that back to go on "
                "with it, or add --new to start afresh beside it."
            )
    parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigurationError(f"The sweep in {folder} is running already; wait for it, or end it first.") from error
    try:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        if not (folder / IDENTITY).is_file():
            write_text(folder / IDENTITY, json.dumps(identity, indent=1, sort_keys=True))
        for left in folder.glob("views-*"):  # of a command that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield folder
    finally:
        lock.release()

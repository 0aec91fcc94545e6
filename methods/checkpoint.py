"""A training checkpoint in the work directory of a cell: written whole or not at all, read without unpickling code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from ..errors import MethodError
from .method import FitContext

NAME = "checkpoint.pt"


def write_checkpoint(directory: Path, values: dict[str, Any]) -> None:
    """Write to a temporary name, fsync, rename.

    Raises:
        MethodError: the directory cannot be written.
    """
    import torch

    temporary = directory / f"{NAME}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(directory / NAME)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise MethodError(f"The checkpoint cannot be written into {directory} ({error}); free space.") from error


def read_checkpoint(directory: Path, context: FitContext) -> dict[str, Any] | None:
    """The values of the last checkpoint, or None; one that cannot be read is left aside, and the record says so."""
    import torch

    path = directory / NAME
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        context.warn(f"The checkpoint could not be read ({type(error).__name__}); training began anew.")
        return None
    return dict(found)

"""A training checkpoint in the work directory of a cell: written whole or not at all, read without unpickling code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import MethodError
from ..files import written
from .method import FitContext

NAME = "checkpoint.pt"


def write_checkpoint(directory: Path, values: dict[str, Any]) -> None:
    """Write the checkpoint in place of the last.

    Raises:
        MethodError: the directory cannot be written.
    """
    import torch

    try:
        with written(directory / NAME) as temporary:
            torch.save(values, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise MethodError(f"The checkpoint cannot be written into {directory} ({error}); free space.") from error


def read_checkpoint(directory: Path, context: FitContext) -> dict[str, Any] | None:
    """The values of the last checkpoint, or None; one that cannot be read is left aside, and the record says so."""
    import torch

    path = directory / NAME
    if not path.is_file():
        return None
    try:
        found = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001 - damaged bytes reach every corner of the format
        context.warn(f"The checkpoint could not be read ({type(error).__name__}); training began anew.")
        return None
    return found

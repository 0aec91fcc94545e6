"""Which of a public dataset's sections are at hand: a folder may hold some of them, some without their image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from .card_parts import SectionEntry


def sections_present(name: str, entries: Sequence[SectionEntry], data_dir: Path | None) -> tuple[SectionEntry, ...]:
    """The entries whose files lie in the folder; an image that does not is left out.

    Raises:
        DataError: no folder, or none of them in it.
    """
    advice = f"fetch it with 'qbench data fetch {name}', then name its folder with --data-dir DIR or set QBENCH_DATA."
    if data_dir is None:
        raise DataError(f"Dataset {name} needs its files; {advice}")
    found = tuple(
        entry if entry.image is None or (data_dir / entry.image).is_file() else entry.model_copy(update={"image": None})
        for entry in entries
        if (data_dir / entry.file).exists()
    )
    if not found:
        raise DataError(f"Expected sections of {name} such as {entries[0].file} in {data_dir}, found none; {advice}")
    return found

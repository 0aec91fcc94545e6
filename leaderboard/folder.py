"""The tables of a runs folder, with where the files of each of their cells lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigurationError, IntegrityError, unknown
from ..files import plain_sha256
from .analysis import REFERENCE
from .ceiling import table_ceiling
from .downstream import table_downstream
from .encoder_axis import encoder_of
from .record import Record, find_records
from .stored import damage, folders_by_cell
from .summarise import summarise
from .table import Table
from .transfer import with_within


def read_tables(
    folder: Path,
    reference: str = REFERENCE,
    ceilings: bool = False,
    damaged: Callable[[str], None] | None = None,
    files: bool = True,
    encoders: Sequence[str] = (),
    sha256: Callable[[Path], str] = plain_sha256,
) -> tuple[list[Table], dict[str, Path]]:
    """The tables of what a runs folder holds, and the folder of each cell that has more than its record.

    What is damaged is named, and the rest goes on: a cell without a sound record is no part of the tables, one with
    damaged files beside it counts as one whose files are not there.

    Args:
        folder: runs, as `qbench run --out` wrote them.
        reference: label of the row that the statistics compare every other one with.
        ceilings: also what a perfect prediction could reach; reads every cell's truth.
        damaged: told a sentence for each result that is damaged; without it the first one is raised, of records alone.
        files: whether the files beside the records will be read, so that they are held against their hashes first.
        encoders: leave out what stands on another encoder; what reads none stays.
        sha256: of a file; a command's remembers files that stayed as they are.

    Raises:
        ConfigurationError: no such folder, no records in it, or an encoder that none of them stands on.
        IntegrityError: none that is sound.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"Expected a runs folder at {folder}, found none; name it, or make one with 'qbench run'."
        )
    told: list[str] = []
    found = find_records(folder, None if damaged is None else told.append)
    sound = [place for place in found if not (files and damaged is not None and _told(place, told, sha256))]
    if len(told) == 1 and not found:
        raise IntegrityError(told[0])
    if damaged is not None:
        for sentence in told:
            damaged(sentence)
    if told and not found:
        raise IntegrityError(
            f"Expected a sound record in {folder}, found {len(told)} damaged; delete the folders named and run their cells "
            "again."
        )
    if not found:
        raise ConfigurationError(
            f"Expected records in {folder}, found none; run something first, for example 'qbench run --methods ridge'."
        )
    folders = folders_by_cell(sound)
    known = {name for _, record in found if (name := encoder_of(record)) is not None}
    for name in encoders:
        if name not in known:
            raise unknown(f"encoder in {folder}", name, known)
    tables = with_within(summarise((record for _, record in found), reference, encoders))
    return (with_ceilings(tables, folders) if ceilings else tables), folders


def _told(place: tuple[Path, Record], told: list[str], sha256: Callable[[Path], str]) -> bool:
    """Whether the files of a cell are damaged; what is wrong with them is added to `told`. A record alone, kept without them, is whole."""
    if [path.name for path in place[0].iterdir()] == ["record.json"]:
        return False
    found = damage(*place, sha256=sha256)
    told += [f"{place[0]}: {sentence}" for sentence in found]
    return bool(found)


def with_ceilings(tables: Iterable[Table], folders: Mapping[str, Path]) -> list[Table]:
    """The tables with their ceilings, where predictions are stored; `folders` is of `stored.folders_by_cell`."""
    return [replace(table, ceiling=table_ceiling(table.rows, folders)) for table in tables]


def with_downstream(
    tables: Iterable[Table], folders: Mapping[str, Path], damaged: Callable[[str], None] | None = None
) -> list[Table]:
    """The tables with what their predictions are good for, where it was computed and is stored.

    A damaged file counts as none and is told to `damaged`; without it, it is raised.
    """
    return [replace(table, downstream=table_downstream(table.rows, folders, damaged)) for table in tables]

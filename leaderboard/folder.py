"""The tables of a runs folder, with where the files of each of their cells lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import ConfigurationError
from .analysis import REFERENCE
from .ceiling import table_ceiling
from .record import find_records
from .stored import folders_by_cell
from .summarise import summarise
from .table import Table


def read_tables(
    folder: Path, reference: str = REFERENCE, ceilings: bool = False
) -> tuple[list[Table], dict[str, Path]]:
    """The tables of what a runs folder holds, and the folder of each cell that has more than its record.

    Args:
        folder: runs, as `qbench run --out` wrote them.
        reference: label of the row that the statistics compare every other one with.
        ceilings: also what a perfect prediction could reach; reads every cell's truth.

    Raises:
        ConfigurationError: no such folder, or no records in it.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"Expected a runs folder at {folder}, found none; name it, or make one with 'qbench run'."
        )
    found = find_records(folder)
    if not found:
        raise ConfigurationError(
            f"Expected records in {folder}, found none; run something first, for example 'qbench run --methods ridge'."
        )
    folders = folders_by_cell(found)
    tables = summarise((record for _, record in found), reference)
    return (with_ceilings(tables, folders) if ceilings else tables), folders


def with_ceilings(tables: Iterable[Table], folders: Mapping[str, Path]) -> list[Table]:
    """The tables with their ceilings, where predictions are stored; `folders` is of `stored.folders_by_cell`."""
    return [replace(table, ceiling=table_ceiling(table.rows, folders)) for table in tables]

"""Which rows the figures show: every one asked for, and a sentence for each that has nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import ConfigurationError, unknown
from ..row import Row
from ..table import Table

BEST = 5  # rows drawn of a table when none is asked for


def check_methods(tables: Sequence[Table], methods: Sequence[str], folders: Mapping[str, Path]) -> None:
    """Every name asked for is that of a row with a stored cell, in one table at least.

    Raises:
        ConfigurationError: a name that no table has, or one of which no table has a stored cell.
    """
    for name in methods:
        rows = [row for table in tables for row in _named(table, name)]
        if not rows:
            raise unknown("row", name, {row.title for table in tables for row in table.rows})
        if not any(_stored(row, folders) for row in rows):
            raise ConfigurationError(
                f"Expected predictions of {name} to draw, found none stored ({rows[0].status or 'only its record'}); "
                "run its cells again."
            )


def choose_rows(table: Table, methods: Sequence[str], folders: Mapping[str, Path]) -> tuple[list[Row], list[str]]:
    """The rows to draw, in the order asked for (none: the best ranked), and what a reader must know of those left out."""
    ranked = [row for row in table.rows if row.rank is not None]
    if not methods:
        notes = []
        if others := [row.title for row in table.rows if row not in ranked[:BEST]]:
            notes = [f"{table.title}: the best ranked are drawn, at most {BEST}; --methods draws {', '.join(others)}"]
        return ranked[:BEST], notes
    chosen: dict[str, Row] = {}
    notes = []
    for name in methods:
        rows = _named(table, name)
        if not rows:
            notes.append(f"{table.title}: has no row {name}")
        chosen |= {row.key: row for row in rows if _stored(row, folders)}
        for row in rows:
            if not _stored(row, folders):
                notes.append(
                    f"{table.title}: {row.title} has no stored predictions ({row.status or 'only its record'})"
                )
            elif not row.complete:
                notes.append(
                    f"{table.title}: {row.title} is drawn from the cells it has ({row.status}); not in ablations"
                )
    return list(chosen.values()), notes


def _named(table: Table, name: str) -> list[Row]:
    """Rows of that title or label; without any, those of the method of that name, whatever its settings."""
    exact = [row for row in table.rows if name in (row.title, row.method)]
    return exact or [row for row in table.rows if row.name == name]


def _stored(row: Row, folders: Mapping[str, Path]) -> bool:
    return any(record.status == "done" and record.cell in folders for record in row.records)

"""What another dataset costs: a row's figures on the tested dataset beside those of the same method trained within it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .record import Record
from .row import HEADLINE, Row
from .summarise import identity, summarise
from .table import Table, Within

# Of what decides a row's numbers all but what follows from the dataset that it learned from.
_OF_THE_DATA = ("rules", "reader")


def with_within(tables: Sequence[Table]) -> list[Table]:
    """The tables, those of a transfer with what the same methods reach within its tested dataset, where a table says it.

    That table holds out the patients of the same sections, spot for spot, with the same target, and has a row of the same
    method, settings, encoder and treatment. Each has the gene panel of its own training side: only marker genes are the same.
    """
    return [table if table.protocol.test_dataset is None else _beside(table, tables) for table in tables]


def summarise_beside(records: Sequence[Record], stored: Callable[[], Iterable[Record]]) -> list[Table]:
    """The tables of a run's records; those of a transfer beside what is `stored` of the tested dataset, read if it is needed."""
    tested = {record.protocol.test_dataset for record in records} - {None}
    if not tested:
        return summarise(records)
    others = [r for r in stored() if r.protocol.test_dataset is None and r.protocol.dataset in tested]
    return [table for table in with_within(summarise([*records, *others])) if table.protocol.test_dataset is not None]


def _beside(table: Table, tables: Iterable[Table]) -> Table:
    due = _tested(table)
    found: dict[str, Within] = {}
    for other in tables:
        if due and _same_question(table, other) and _tested(other) == due:
            rows = {_key(row): row for row in other.rows if row.complete}
            pairs = ((row, rows.get(_key(row))) for row in table.rows if row.complete)
            found |= {row.key: _within(row, own, other.protocol.hash) for row, own in pairs if own is not None}
    return replace(table, within=found)


def _same_question(table: Table, other: Table) -> bool:
    """Whether another table says how methods do within the dataset that a transfer tests."""
    ours, theirs = table.protocol, other.protocol
    return (
        theirs.test_dataset is None
        and theirs.dataset == ours.tested
        and theirs.held_out == "patient"
        and not theirs.leaky
        and (theirs.target, theirs.images, other.track) == (ours.target, ours.images, table.track)
    )


def _tested(table: Table) -> dict[str, Any]:
    """Patient, spots and content of each section that a table tests."""
    folds = (record.identity.get("fold") for row in table.rows for record in row.records)
    held = (fold for fold in folds if isinstance(fold, dict))  # older records hold none
    return {section: part for fold in held for section, part in fold["test"].items()}


def _key(row: Row) -> str:
    parts = {name: value for name, value in identity(row.records[0]).items() if name not in _OF_THE_DATA}
    return json.dumps(parts, sort_keys=True)


def _within(row: Row, own: Row, protocol_hash: str) -> Within:
    figures, drop = {}, {}
    for name in HEADLINE:
        here, there = row.figure(name).mean, own.figure(name).mean
        if here is not None and there is not None:
            figures[name] = there
            drop[name] = here - there if name.startswith("mse") else there - here
    return Within(protocol_hash, figures, drop)

"""Tables as data for programs: the contract's JSON, and CSV with a line a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ..names import spreadsheet_cell
from .analysis import beats_controls
from .downstream import VERSION
from .encoder_axis import encoders_of
from .record import Record
from .row import Row
from .table import Table, Within

SCHEMA = 1


def tables_json(tables: Sequence[Table]) -> dict[str, Any]:
    """The contract's object, {"schema": 1, "tables": [...]}, ready for json.dumps; further keys only add."""
    return {"schema": SCHEMA, "tables": [_table(table) for table in tables]}


def tables_csv(tables: Sequence[Table]) -> str:
    """All rows of all tables below one header; spreads stand in columns of their own, absent figures are empty."""
    lines: list[dict[str, Any]] = []
    for table in tables:
        head = {
            k: v
            for k, v in _table(table).items()
            if k not in ("rows", "title", "folds", "ceiling", "encoders", "mixed", "downstream")
        }
        for row in table.rows:
            line = dict(head)
            values = {**_row(row), **_finding(row, table)}
            values |= {f"downstream_{name}": value for name, value in (_downstream(row, table) or {}).items()}
            for key, value in values.items():
                if isinstance(value, dict) and set(value) == {"mean", "sd_patients", "sd_seeds"}:
                    line[key] = value["mean"]
                    line[f"{key}_sd_patients"] = value["sd_patients"]
                    line[f"{key}_sd_seeds"] = value["sd_seeds"]
                elif key == "settings":
                    line[key] = " ".join(f"{name}={setting}" for name, setting in sorted(value.items()))
                elif key.endswith("interval"):
                    line[f"{key}_low"], line[f"{key}_high"] = value or (None, None)
                elif not isinstance(value, list | dict):
                    line[key] = value
            lines.append(line)
    header = list(dict.fromkeys(key for line in lines for key in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="", lineterminator="\n")
    writer.writerow({key: spreadsheet_cell(key) for key in header})
    for line in lines:
        writer.writerow(
            {key: spreadsheet_cell(value) if isinstance(value, str) else value for key, value in line.items()}
        )
    return out.getvalue()


def _table(table: Table) -> dict[str, Any]:
    protocol = table.protocol
    return {
        "protocol": protocol.name,
        "protocol_hash": protocol.hash,
        "track": table.track,
        "dataset": protocol.dataset,
        **({} if protocol.test_dataset is None else {"test_dataset": protocol.test_dataset}),
        "simulated": protocol.simulated,
        "target": protocol.target,
        "leaky": protocol.leaky,
        "images": protocol.images,
        "title": table.title,
        "folds": list(table.folds),
        "reference": table.analysis.reference,
        "encoders": list(encoders_of(table.rows)),
        "mixed": table.mixed,
        "statistics": table.analysis.sentence,
        "ceiling": None if table.ceiling is None else dict(table.ceiling.mean),
        "downstream": None
        if table.downstream is None
        else {
            "version": VERSION,
            "ceiling": dict(table.downstream.ceiling),
            "sets": list(table.downstream.sets),
            "notes": list(table.downstream.notes),
        },
        "rows": [{**_row(row), **_finding(row, table), "downstream": _downstream(row, table)} for row in table.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "method": row.method,
        "variant": row.variant,
        "kind": row.kind,
        "profile": row.profile,
        "encoder": row.encoder,
        "settings": dict(row.settings),
        **row.numbers(),
        **{name: figure.as_dict() for name, figure in row.figures.items()},
        "cells": list(row.cells),
        "failures": [_failure(record) for record in row.records if record.failure is not None],
    }


def _finding(row: Row, table: Table) -> dict[str, Any]:
    finding = table.analysis.of(row)
    return {
        "interval": finding.interval,
        "rank_interval": finding.rank_interval,
        "compared_with": finding.reference,
        "difference": finding.difference,
        "difference_by_patient": dict(finding.difference_by_patient),
        "difference_interval": finding.difference_interval,
        "p": finding.p,
        "p_adjusted": finding.p_adjusted,
        "tie_group": finding.tie_group,
        "beats_controls": beats_controls(row, table.rows),
        **_within(table.within.get(row.key)),
    }


def _within(found: Within | None) -> dict[str, Any]:
    """Of a transfer: `within_pcc_hvg` and `drop_pcc_hvg`, and so of each headline figure; nothing of any other table."""
    if found is None:
        return {}
    figures = {f"within_{name}": value for name, value in found.figures.items()}
    drop = {f"drop_{name}": value for name, value in found.drop.items()}
    return {"within_protocol_hash": found.protocol_hash, **figures, **drop}


def _downstream(row: Row, table: Table) -> dict[str, Any] | None:
    """A row's downstream figures by name; None where they were not computed."""
    found = {} if table.downstream is None else table.downstream.figures.get(row.key, {})
    return {name: found[name].as_dict() for name in sorted(found)} or None


def _failure(record: Record) -> dict[str, Any]:
    failure = record.failure
    return {
        "cell": record.cell,
        "fold": record.fold.name,
        "seed": record.seed,
        "type": failure.type if failure else "",
        "message": failure.message if failure else "",
    }

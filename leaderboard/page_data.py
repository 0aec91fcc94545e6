"""What the page shows, as one JSON object: tables, statistics, genes and provenance; the spot maps are `page_maps`'."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .analysis import CONTROLS, Analysis, analyse, beats_controls, best_control, remark
from .codes import CODE_COUNTS, perplexity
from .columns import difference
from .compare import gene_means
from .downstream_columns import downstream_data
from .encoder_axis import axis_of, encoders_of
from .record import Record
from .reported import Reported, differences, fitting, heading, verdicts
from .row import HEADLINE, Row
from .stored import read_diagnostics
from .table import Table

# Figures whose patients and sections the page can open; the others show their mean and spreads.
SETS = {
    "headline": ("", HEADLINE),
    "unrounded": ("_unrounded", HEADLINE),
    "depth_adjusted": ("_depth_adjusted", HEADLINE[:4]),
    "pooled": ("_pooled", HEADLINE),
    "test_chosen": ("_test_chosen", ("pcc_hvg", "pcc_heg")),
    "hest": ("", ("hest",)),
}
_MISSING = -32768
_PROVENANCE = ("cell", "seed", "device", "precision", "threads", "epochs", "selected_epoch", "started")


def table_data(table: Table, folders: Mapping[str, Path], reported: Sequence[Reported]) -> dict[str, Any]:
    """One table of the page; everything in it is plain data, nothing is trusted to be safe as HTML."""
    protocol = table.protocol
    names = [f"{name}{suffix}" for suffix, figures in SETS.values() for name in figures]
    shown = [name for name in names if any(row.figure(name).mean is not None for row in table.rows)]
    own = table.analysis
    analyses = {
        name: own if name == own.figure else analyse(table.rows, own.reference or "", name)
        for name in HEADLINE
        if name in shown
    }
    means = {row.key: gene_means(row, folders) for row in table.rows if not row.failed}
    genes = sorted({gene for values in means.values() for gene in values})
    best = best_control(table.rows)
    patients = sorted({name for row in table.rows for name in row.patients.values()})
    return {
        "title": table.title,
        "protocol": protocol.name,
        "hash": protocol.hash,
        "track": table.track,
        "dataset": protocol.tested,
        "learned": protocol.dataset,
        "target": protocol.target,
        "leaky": protocol.leaky,
        "simulated": protocol.simulated,
        "images": protocol.images,
        "folds": list(table.folds),
        "patients": patients,
        "sections": _sections(table),
        "definition": protocol.definition,
        "sentence": table.analysis.sentence,
        "reference": table.analysis.reference,
        "against": difference(table).removeprefix("Δ "),
        "encoders": list(encoders_of(table.rows)),
        "mixed": table.mixed,
        "best_control": None if best is None else best.key,
        "controls": list(CONTROLS),
        "sets": {key: [f for f in _named(key) if f in shown] for key in SETS if any(f in shown for f in _named(key))},
        "ceiling": {} if table.ceiling is None else {f"pcc_{name}": v for name, v in table.ceiling.mean.items()},
        "downstream": downstream_data(table.downstream),
        "genes": genes,
        "gene_ceiling": _packed([] if table.ceiling is None else [table.ceiling.by_gene.get(g) for g in genes]),
        "gene_lists": _gene_lists(table),
        "rows": [_row(row, table, shown, analyses, means.get(row.key, {}), genes, folders) for row in table.rows],
        "reported": [_reported(table, r) for r in fitting(table, reported)],
    }


def _named(key: str) -> list[str]:
    suffix, figures = SETS[key]
    return [f"{name}{suffix}" for name in figures]


def _sections(table: Table) -> list[dict[str, str]]:
    patients = {section: patient for row in table.rows for section, patient in row.patients.items()}
    return [{"id": section, "patient": patients[section]} for section in sorted(patients)]


def _row(
    row: Row,
    table: Table,
    shown: Sequence[str],
    analyses: Mapping[str, Analysis],
    means: Mapping[str, float],
    genes: Sequence[str],
    folders: Mapping[str, Path],
) -> dict[str, Any]:
    return {
        "key": row.key,
        "rank": row.rank,
        "title": row.title,
        "method": row.method,
        "name": row.name,
        "kind": row.kind,
        "encoder": row.encoder,
        "line": row.line,
        "axis": axis_of(row),
        "remark": remark(row, table.rows),
        "beats": beats_controls(row, table.rows),
        **row.numbers(),
        "within": None if row.key not in table.within else _rounded(table.within[row.key].figures),
        "drop": None if row.key not in table.within else _rounded(table.within[row.key].drop),
        "figures": {n: _triple(row, n) for n in row.figures if row.figure(n).mean is not None},
        "by_patient": {n: _rounded(row.by_patient[n]) for n in shown if n in row.by_patient and not row.failed},
        "by_section": {n: _rounded(row.by_section[n]) for n in shown if n in row.by_section and not row.failed},
        "statistics": {name: _finding(analysis, row) for name, analysis in analyses.items()},
        "genes": _packed([means.get(gene) for gene in genes]) if means else "",
        "provenance": _provenance(row, folders),
    }


def _triple(row: Row, name: str) -> list[float | None]:
    figure = row.figure(name)
    values = (figure.mean, figure.sd_patients, figure.sd_seeds)
    return [None if value is None else float(f"{value:.5g}") for value in values]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.5g}") for name, value in values.items()}


def _finding(analysis: Analysis, row: Row) -> dict[str, Any]:
    found = analysis.of(row)
    return {
        "interval": found.interval,
        "ranks": found.rank_interval,
        "reference": found.reference,
        "difference": found.difference,
        "difference_by_patient": _rounded(found.difference_by_patient),
        "difference_interval": found.difference_interval,
        "p": found.p,
        "p_adjusted": found.p_adjusted,
        "tie": found.tie_group,
    }


def _gene_lists(table: Table) -> dict[str, list[str]]:
    """Genes that stand in a list in any fold; panels are chosen by fold."""
    lists: dict[str, set[str]] = {}
    for row in table.rows:
        for record in row.records:
            for name, genes in record.panel.items():
                lists.setdefault(name, set()).update(genes)
    return {name: sorted(genes) for name, genes in sorted(lists.items())}


def _packed(values: Sequence[float | None]) -> str:
    """Values in thousandths as little-endian int16, base64; -32768 where there is none."""
    whole = [_MISSING if value is None else round(1000 * value) for value in values]
    return base64.b64encode(np.array(whole, dtype="<i2").tobytes()).decode("ascii")


def _provenance(row: Row, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Where a row's numbers come from: what its cells share, then the cells."""
    first = row.records[0]
    environment = first.environment
    return {
        "parameters": first.method.parameters,
        "settings": dict(row.settings),
        "version": first.method.version,
        "origin": first.method.origin,
        "profile": row.profile,
        "context": first.method.context,
        "encoder": None if first.encoder is None else first.encoder.model_dump(mode="json"),
        "patches": None if first.patches is None else first.patches.model_dump(mode="json"),
        "select": first.select,
        "max_epochs": first.max_epochs,
        "tuned": first.tuned,
        "environment": None if environment is None else environment.model_dump(mode="json"),
        "warnings": sorted({warning for record in row.records for warning in record.warnings}),
        "markers_missing": sorted({gene for record in row.records for gene in record.markers_missing}),
        "cells": [{**_cell(record), "codebook": _codebook(record, folders)} for record in row.records],
    }


def _cell(record: Record) -> dict[str, Any]:
    failure = record.failure
    return {
        **{name: getattr(record, name) for name in _PROVENANCE},
        "fold": record.fold.name,
        "status": record.status,
        "train": list(record.fold.train),
        "validation": list(record.fold.validation),
        "test": list(record.fold.test),
        "rule": record.fold.validation_rule,
        "fit_seconds": round(record.fit_seconds, 2),
        "hashes": record.hashes.model_dump(mode="json", exclude_none=True),
        "failure": None if failure is None else failure.model_dump(mode="json"),
    }


def _codebook(record: Record, folders: Mapping[str, Path]) -> dict[str, float] | None:
    """Codes that training spots use, and the perplexity of their usage; None for methods without a codebook."""
    if record.status != "done" or record.cell not in folders:
        return None
    counts = read_diagnostics(folders[record.cell], [CODE_COUNTS]).get(CODE_COUNTS)
    return None if counts is None else {"used": len(counts), "perplexity": round(perplexity(counts), 1)}


def _reported(table: Table, reported: Reported) -> dict[str, Any]:
    return {
        "title": heading(table, reported),
        "other": bool(differences(table, reported)),
        "origin": reported.origin,
        "statements": list(reported.statements),
        "figures": list(reported.figures),
        "rows": [row.model_dump(mode="json") for row in reported.rows],
        "verdicts": [{"text": v.text, "gap": v.gap} for v in verdicts(table, reported)],
    }

"""Genes that stored predictions can show: the panels of the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ConfigurationError, unknown
from .stored import read_scores
from .table import Table


def fold_panels(table: Table, folders: Mapping[str, Path]) -> dict[str, frozenset[str]]:
    """Fold -> genes of its panel, from one stored cell of it; folds of which nothing is stored are absent."""
    out: dict[str, frozenset[str]] = {}
    for row in table.rows:
        for record in row.records:
            if record.status == "done" and record.fold.name not in out and record.cell in folders:
                out[record.fold.name] = frozenset(read_scores(folders[record.cell], ["gene"])["gene"])
    return out


def check_genes(genes: Sequence[str], tables: Sequence[Table], folders: Mapping[str, Path]) -> list[str]:
    """Where a gene is missing, a sentence each: tables and folds whose panel lacks a gene that others have.

    Raises:
        ConfigurationError: a gene that no stored panel has, or no stored panel at all.
    """
    panels = [(table, fold_panels(table, folders)) for table in tables]
    known = {gene for _, folds in panels for panel in folds.values() for gene in panel}
    if genes and not known:
        raise ConfigurationError(
            f"Expected stored predictions to show {', '.join(genes)} of, found records only; name the runs folder."
        )
    for gene in genes:
        if gene not in known:
            raise unknown("gene in the panels", gene, known)
    notes = []
    for table, folds in panels:
        for gene in genes:
            without = [fold for fold in sorted(folds) if gene not in folds[fold]]
            if without:
                notes.append(f"{table.title}: {gene} is not in the panel of fold {', '.join(without)}, not drawn there")
    return notes

"""A protocol as two tables: which spot plays which role in which fold, and each fold's gene panel."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ...datasets.cache import ArrayCache
from ...datasets.folds import SIDES
from ...datasets.leaks import check_panel
from ...datasets.protocol import Protocol
from ...files import write_text
from ...names import spreadsheet_cell
from ..engine.identity import contents_of
from ..engine.panels import open_panel
from ..engine.settle import open_data, settle_protocol
from ..settings import RunSettings


def export_protocol(options: RunSettings, folder: Path) -> tuple[Protocol, list[str], int]:
    """Write `folds.csv` and `panels.csv`; returns the protocol, notes on sections left out, and the number of folds.

    `folds.csv`: section, spot, fold, role (train, validation, test). `panels.csv`: fold, gene, rank (0 is the most
    variable; markers that were appended have no rank), HVG, HEG, MG (1 or 0). Names that a spreadsheet would run are written
    as `spreadsheet_cell` does, and read so by `qbench score`.
    """
    cache = ArrayCache()
    dataset = open_data(options, cache)
    settled = settle_protocol(options, dataset, cache)
    folds, panels = io.StringIO(), io.StringIO()
    write_fold, write_panel = csv.writer(folds, lineterminator="\n"), csv.writer(panels, lineterminator="\n")
    write_fold.writerow(["section", "spot", "fold", "role"])
    write_panel.writerow(["fold", "gene", "rank", "HVG", "HEG", "MG"])
    for fold in settled.folds:
        for side in SIDES:
            for part in getattr(fold, side):
                section = dataset.load(part.section)
                rows = part.rows(section.array_xy)
                spots = section.spots if rows is None else [section.spots[i] for i in rows]
                write_fold.writerows([*map(spreadsheet_cell, (section.id, spot, fold.name, side))] for spot in spots)
        panel = open_panel(dataset, fold, cache, settled.protocol.genes)
        check_panel(fold, panel, contents_of(settled.spots), settled.protocol.genes)
        lists = [panel.mask(genes) for genes in (panel.hvg, panel.heg, panel.mg)]
        for i, gene in enumerate(panel.genes):
            rank = i if i < panel.n_ranked else ""
            write_panel.writerow(
                [spreadsheet_cell(fold.name), spreadsheet_cell(gene), rank, *(int(mask[i]) for mask in lists)]
            )
    write_text(folder / "folds.csv", folds.getvalue())
    write_text(folder / "panels.csv", panels.getvalue())
    return settled.protocol, settled.notes, len(settled.folds)

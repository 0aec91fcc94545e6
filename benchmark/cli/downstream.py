"""`qbench downstream`: what the stored predictions of a runs folder are good for, without fitting anything again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..downstream.settings import DownstreamSettings
from . import flags
from .damage import naming_damage, remembering

if TYPE_CHECKING:
    from ...leaderboard.record import Record
    from ..downstream.cell import Labels
    from ..downstream.gene_sets import GeneSets


def add(app: typer.Typer) -> None:
    app.command(
        "downstream",
        epilog="Examples:\n\nqbench downstream runs\n\nqbench downstream runs --data-dir her2st\n\n"
        "qbench downstream runs --gene-sets breast,hallmarks.gmt",
    )(downstream)


@flags.taking("downstream")
def downstream(
    runs: flags.Runs = Path("runs"),
    *,
    settings: DownstreamSettings,
    data_dir: flags.DataDir = None,
    dataset: flags.Dataset = None,
    out: flags.Out = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Spatial structure, domains, gene sets and profiles of every stored prediction, in columns of their own."""
    from ..downstream.gene_sets import read_gene_sets

    sets = read_gene_sets(settings.gene_sets)
    with naming_damage() as damaged:
        _downstream(out or runs, sets, data_dir, dataset, as_json, quiet, damaged)


def _downstream(
    runs: Path,
    sets: GeneSets,
    data_dir: Path | None,
    dataset: str | None,
    as_json: bool,
    quiet: bool,
    damaged: Callable[[str], None],
) -> None:
    from ...datasets.registry import card
    from ...leaderboard.folder import read_tables, with_downstream
    from ..downstream.folder import read_labels

    with remembering(runs) as sha256:
        tables, folders = read_tables(runs, damaged=damaged, sha256=sha256)
    cards = {table.protocol.tested: table.protocol.tested for table in tables}
    if dataset is not None:
        cards[card(dataset).name] = dataset
    labels, notes = read_labels(cards, data_dir)
    for note in notes:
        typer.echo(note, err=True)
    records = {record.cell: record for table in tables for row in table.rows for record in row.records}
    found = [(folder, records[cell]) for cell, folder in folders.items() if cell in records]
    make_figures(found, sets, labels, quiet or as_json)
    tables = with_downstream(tables, folders, damaged)
    if as_json:
        from ...leaderboard.export import tables_json

        print(json.dumps(tables_json(tables), indent=1))
    else:
        from rich.console import Console

        from ...leaderboard.terminal import print_tables

        print_tables(tables, Console(highlight=False))


def make_figures(
    found: Sequence[tuple[Path, Record]], sets: GeneSets, labels: Mapping[str, Labels], quiet: bool
) -> None:
    """Make the figures that are missing, with a bar and what there is to say."""
    from ..downstream.folder import make_all
    from .progress import Bars

    with Bars(quiet) as bars:
        done = make_all(found, sets, labels, bars)
    for note in () if quiet else (*done.notes, f"downstream: {done.made} cells made, {done.read} read"):
        typer.echo(note, err=True)

"""`qbench protocol export`: folds and panels as tables, so that others can train outside on the same splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..settings import RunSettings
from . import flags


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Folds and gene panels, for use outside qbench.", no_args_is_help=True)
    group.command("export", epilog="Example: qbench protocol export --to splits --dataset her2st --data-dir her2st")(
        export
    )
    app.add_typer(group, name="protocol")


@flags.taking("protocol export")
def export(
    *,
    to: Annotated[Path, typer.Option("--to", help="Folder for folds.csv and panels.csv; made if missing.")],
    settings: RunSettings,
) -> None:
    """Write folds.csv (section, spot, fold, role) and panels.csv (fold, gene, rank, HVG, HEG, MG)."""
    from ..external.export import export_protocol

    settled, notes, n_folds = export_protocol(settings, to)
    for note in notes:
        typer.echo(note, err=True)
    typer.echo(f"{to / 'folds.csv'} and {to / 'panels.csv'}: protocol {settled.name} ({settled.hash}), {n_folds} folds")

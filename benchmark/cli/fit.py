"""`qbench fit`: a method fitted on all patients, for `qbench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..settings import RunSettings
from . import flags

Method = Annotated[str, typer.Argument(help='The method, with settings in brackets: ridge, "qca\\[alpha=0.5]".')]


def add(app: typer.Typer) -> None:
    app.command("fit", epilog="Example: qbench fit ridge --dataset her2st --data-dir her2st --to model")(fit)


@flags.taking("fit")
def fit(
    *,
    method: Method,
    to: Annotated[Path, typer.Option("--to", help="Folder of the fitted model.")],
    settings: RunSettings,
    quiet: flags.Quiet = False,
) -> None:
    """Fit a method on all patients; the last patient by id (or section) is kept for early stopping and penalties."""
    from ...methods.registry import split_list
    from ..predict.fit import fit_model
    from .progress import Bars

    wanted = settings.model_copy(update={"methods": tuple(split_list(method))})
    with Bars(quiet) as bars:
        record = fit_model(wanted, to, bars)
    if not quiet:
        typer.echo(
            f"{to}: {record.method} on {len(record.train)} sections of {record.dataset} "
            f"({len(set(record.train.values()))} patients), {len(record.panel.genes)} genes; validated on {record.rule}"
        )
        for warning in record.fitted["warnings"]:
            typer.echo(warning)

"""`qbench fit`: a method fitted on all patients, for `qbench predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import flags

Method = Annotated[str, typer.Argument(help='The method, with settings in brackets: ridge, "qca\\[alpha=0.5]".')]


def add(app: typer.Typer) -> None:
    app.command("fit", epilog="Example: qbench fit ridge --dataset her2st --data-dir her2st --to model")(fit)


def fit(
    method: Method,
    to: Annotated[Path, typer.Option("--to", help="Folder of the fitted model.")],
    dataset: flags.Dataset = None,
    data_dir: flags.DataDir = None,
    target: flags.Target = None,
    sections: flags.Sections = None,
    profile: flags.Profile = None,
    encoder: flags.Encoder = None,
    encoder_weights: flags.EncoderWeights = None,
    microns_per_pixel: flags.MicronsPerPixel = None,
    runtime: flags.Runtime = None,
    seeds: flags.Seeds = None,
    max_epochs: flags.MaxEpochs = None,
    select: flags.Select = None,
    device: flags.Device = None,
    precision: flags.Precision = None,
    plugin: flags.Plugin = None,
    config: flags.Config = None,
    quiet: flags.Quiet = False,
) -> None:
    """Fit a method on all patients; the last patient by id (or section) is kept for early stopping and penalties."""
    from ..predict.fit import fit_model
    from ..settings import read_options
    from .progress import Bars

    given = {
        "methods": [method], "dataset": dataset, "data_dir": data_dir, "target": target, "sections": sections,
        "profile": profile, "encoder": encoder, "encoder_weights": encoder_weights,
        "microns_per_pixel": microns_per_pixel, "runtime": runtime, "seeds": seeds, "max_epochs": max_epochs,
        "select": select, "device": device, "precision": precision, "plugin": plugin,
    }  # fmt: skip
    with Bars(quiet) as bars:
        record = fit_model(read_options(given, config), to, bars)
    if not quiet:
        typer.echo(
            f"{to}: {record.method} on {len(record.train)} sections of {record.dataset} "
            f"({len(set(record.train.values()))} patients), {len(record.panel.genes)} genes; validated on {record.rule}"
        )
        for warning in record.fitted["warnings"]:
            typer.echo(warning)

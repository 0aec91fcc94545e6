"""`qbench fit` and `qbench predict`: from all patients to a slide that has no transcriptomics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import flags

Method = Annotated[str, typer.Argument(help='The method, with settings in brackets: ridge, "qca\\[alpha=0.5]".')]


def add(app: typer.Typer) -> None:
    app.command("fit", epilog="Example: qbench fit ridge --dataset her2st --data-dir her2st --to model")(fit)
    app.command(
        "predict",
        epilog="Examples:\n\nqbench predict --model model --image slide.svs --grid 200um --output slide.h5ad\n\n"
        "qbench predict --model model --image section.jpg --grid 200um --microns-per-pixel 0.69 --output "
        "section.h5ad --maps ERBB2",
    )(predict)


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


def predict(
    model: Annotated[Path, typer.Option("--model", help="Folder that 'qbench fit' wrote.")],
    image: Annotated[Path, typer.Option("--image", help="Slide (tiled TIFF, OME-TIFF, SVS) or image (JPEG, PNG).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .h5ad to write.")],
    grid: Annotated[str | None, typer.Option("--grid", help="Distance of points: 200um or 290px.")] = None,
    spots: Annotated[
        Path | None, typer.Option("--spots", help="CSV with columns spot, x, y in pixels of the image.")
    ] = None,
    microns_per_pixel: Annotated[
        float | None, typer.Option("--microns-per-pixel", help="Of the image, where its file does not state it.")
    ] = None,
    maps: Annotated[list[str] | None, typer.Option("--maps", help="Genes to draw as PNG beside the output.")] = None,
    encoder_weights: flags.EncoderWeights = None,
    device: flags.Device = None,
    runtime: flags.Runtime = None,
    plugin: flags.Plugin = None,
    quiet: flags.Quiet = False,
) -> None:
    """Predict a slide: log1p values and integer counts with coordinates, ready for scanpy; a killed run goes on."""
    from ...methods.encoders.registry import parse_weights
    from ...methods.registry import split_list
    from ..plugins import load_plugins
    from ..predict.maps import write_maps
    from ..predict.slide import predict_slide
    from .progress import Bars

    load_plugins(plugin or ())
    weights = parse_weights(encoder_weights or ())
    with Bars(quiet) as bars:
        done = predict_slide(
            model, image, output, grid, spots, microns_per_pixel, weights, device or "auto", runtime or "auto", bars
        )
    written = write_maps(output, [gene for text in maps or () for gene in split_list(text)]) if maps else []
    if not quiet:
        for note in done.notes:
            typer.echo(note)
        again = f" ({done.resumed} windows were done before)" if done.resumed else ""
        typer.echo(f"{output}: {done.points} points{again}")
        for path in written:
            typer.echo(str(path))

"""`qbench predict`: the expression of a slide that has no transcriptomics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import ConfigurationError
from . import flags

if TYPE_CHECKING:
    from ..predict.slide import Predicted


def add(app: typer.Typer) -> None:
    app.command(
        "predict",
        epilog="Examples:\n\nqbench predict --model model --image slide.svs --grid 200um --output slide.h5ad\n\n"
        "qbench predict --model model --image section.jpg --grid 200um --microns-per-pixel 0.69 --output "
        "section.h5ad --maps ERBB2\n\n"
        "qbench predict --model model --dataset demo-shifted --output sections.h5ad",
    )(predict)


def predict(
    model: Annotated[Path, typer.Option("--model", help="Folder that 'qbench fit' or 'qbench convert' wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .h5ad, or the folder of the store, to write.")],
    image: Annotated[
        Path | None,
        typer.Option("--image", help="Slide (tiled TIFF, OME-TIFF, SVS, NDPI, MRXS and others) or image (JPEG, PNG)."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="In place of --image: every spot of this dataset's sections.")
    ] = None,
    data_dir: flags.DataDir = None,
    sections: flags.Sections = None,
    form: Annotated[
        Literal["h5ad", "zarr", "ome-tiff"],
        typer.Option(
            "--format",
            help="h5ad (AnnData), zarr (a SpatialData store) or, with --resolution, ome-tiff (a channel each gene of --maps, else all).",
        ),
    ] = "h5ad",
    grid: Annotated[str | None, typer.Option("--grid", help="Distance of points: 200um or 290px.")] = None,
    spots: Annotated[
        Path | None, typer.Option("--spots", help="CSV with columns spot, x, y in pixels of the image.")
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            "--resolution", help="Distance of the points of a map finer than spots: 8um or 12px (istar, xfuse)."
        ),
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
    """Predict a slide, or a dataset's sections: log1p values and integer counts, ready for scanpy; a slide's killed run goes on."""
    from ...methods.encoders.registry import parse_weights
    from ...methods.registry import split_list
    from ..plugins import load_plugins
    from ..predict.maps import check_genes, write_maps
    from ..predict.sections import predict_sections
    from ..predict.slide import predict_slide
    from .progress import Bars

    load_plugins(plugin or ())
    weights = parse_weights(encoder_weights or ())
    computing = (device or "auto", runtime or "auto")
    if (image is None) == (dataset is None):
        raise ConfigurationError(
            "Say what to predict: give either --image, or --dataset for the spots of its sections."
        )
    if image is None:
        assert dataset is not None
        of_slides = (grid, spots, resolution, microns_per_pixel, maps)
        if any(given is not None for given in of_slides) or form != "h5ad":
            raise ConfigurationError(
                "A dataset's own spots are predicted, as .h5ad; leave out --grid, --spots, --resolution, --microns-per-pixel, --maps "
                "and --format, or give an --image."
            )
        wanted = tuple(name for text in sections or () for name in split_list(text))
        with Bars(quiet) as bars:
            done = predict_sections(model, dataset, data_dir, wanted, output, weights, *computing, bars)
        _say(done, output, quiet)
        return
    genes = [gene for text in maps or () for gene in split_list(text)]
    check_genes(model, genes)
    with Bars(quiet) as bars:
        done = predict_slide(
            model,
            image,
            output,
            grid,
            spots,
            microns_per_pixel,
            weights,
            *computing,
            bars,
            form,
            resolution,
            genes,
        )
    written = write_maps(output, genes) if genes and form != "ome-tiff" else []
    _say(done, output, quiet)
    for path in () if quiet else written:
        typer.echo(str(path))


def _say(done: Predicted, output: Path, quiet: bool) -> None:
    """What was done, and what must be seen of it."""
    if quiet:
        return
    for note in done.notes:
        typer.echo(note)
    again = f" ({done.resumed} windows were done before)" if done.resumed else ""
    typer.echo(f"{output}: {done.points} points{again}")

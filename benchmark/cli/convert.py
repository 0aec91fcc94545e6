"""`qbench convert`: the weights of a method's public repository as a model that `qbench predict` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import flags


def add(app: typer.Typer) -> None:
    app.command(
        "convert",
        epilog="Examples:\n\nqbench convert stnet model.pt --genes genes.txt --to stnet-model\n\n"
        "qbench convert histogene last.ckpt --genes genes.npy --to histogene-model --microns-per-pixel 0.69\n\n"
        "Nothing but tensors is read from the file; one whose pickle asks for a class is refused and the class named.",
    )(convert)


def convert(
    method: Annotated[str, typer.Argument(help="stnet, histogene, hist2st or bleep.")],
    file: Annotated[Path, typer.Argument(help="State dict of the public code: .safetensors, .pt, .pth or .ckpt.")],
    genes: Annotated[
        Path, typer.Option("--genes", help="Genes in the order of its outputs: text, one a line, or .npy of strings.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder of the model.")],
    microns_per_pixel: Annotated[
        float | None, typer.Option("--microns-per-pixel", help="Of the images that it was trained on, where known.")
    ] = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Convert weights of a method's public code; use them with predict, or load_method in Python."""
    from ..predict.converted import convert_model

    record = convert_model(method, file, genes, to, microns_per_pixel)
    if as_json:
        found = {"method": record.method, "profile": record.profile, "target": record.target, "to": str(to)}
        print(json.dumps({"schema": 1, **found, "genes": list(record.panel.genes)}, indent=1))
    elif not quiet:
        typer.echo(f"{to}: {record.method} with {len(record.panel.genes)} genes; it predicts what it was trained on")
        if method == "bleep":
            typer.echo("It holds no reference spots to retrieve from: it embeds patches and spots, but cannot predict.")

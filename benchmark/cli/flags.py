"""Flags that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--methods", "-m", help='Methods, with settings in brackets: [bold]qca,"bleep\\[k=20]"[/bold]; may be repeated.'
    ),
]
Dataset = Annotated[
    str | None, typer.Option("--dataset", help="demo (default), her2st, or a card of your own (NAME or FILE.yaml).")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the dataset's files; else the environment's QBENCH_DATA.")
]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="patient (default), section, histogene32, spared, or FILE.yaml.")
]
AllowLeaky = Annotated[
    bool | None,
    typer.Option(
        "--allow-leaky", help="Run a protocol in which one patient stands on both sides; it gets its own table."
    ),
]
Target = Annotated[
    str | None,
    typer.Option("--target", help="counts (log1p of integer counts, default) or proportion (per 10,000, log1p)."),
]
Sections = Annotated[list[str] | None, typer.Option("--sections", help="Only these sections, by id.")]
NoImages = Annotated[
    bool | None, typer.Option("--no-images", help="Every section that has counts, for methods that need no image.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", help="fast (frozen shared features, default) or paper (as published).")
]
Encoder = Annotated[
    str | None, typer.Option("--encoder", help="Image encoder: efficientnet_lite0 (default), or any timm name.")
]
EncoderWeights = Annotated[
    list[str] | None,
    typer.Option("--encoder-weights", help="NAME=FILE (repeatable), or random.", metavar="NAME=FILE|random"),
]
MicronsPerPixel = Annotated[
    float | None, typer.Option("--microns-per-pixel", help="Resample patches to this size; native pixels by default.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime", help="auto (default), eager, compiled or openvino; ':fp32' or ':bf16' fixes the encoder's dtype."
    ),
]
Seeds = Annotated[list[str] | None, typer.Option("--seeds", help="Seeds, default 0.")]
MaxEpochs = Annotated[int | None, typer.Option("--max-epochs", help="An upper bound on every method's epochs.")]
Select = Annotated[
    str | None, typer.Option("--select", help="What early stopping watches on validation: mse (default) or pcc.")
]
Device = Annotated[str | None, typer.Option("--device", help="auto (default), cpu or cuda.")]
Precision = Annotated[
    str | None, typer.Option("--precision", help="Of training: fp32, bf16, or auto (bf16 for paper profiles on a GPU).")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Cells at once, through Ray; one thread each.")]
RayAddress = Annotated[str | None, typer.Option("--ray-address", help="Run the cells on this Ray cluster.")]
Runs = Annotated[Path, typer.Argument(help="The runs folder.")]
Reference = Annotated[str, typer.Option("--reference", help="The row that all others are compared with.")]
Genes = Annotated[str | None, typer.Option("--genes", help="Genes to draw, with commas: PTPRF,TRAF4,ERBB2.")]
Out = Annotated[Path | None, typer.Option("--out", help="The runs folder, default runs.")]
Config = Annotated[Path | None, typer.Option("--config", help="YAML with the same names; the command line wins.")]
Plugin = Annotated[
    list[str] | None, typer.Option("--plugin", help="A method of your own: FILE.py:Class or package.module:Class.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what goes wrong.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more: every epoch.")]

"""`qbench sweep`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from . import flags

EPILOG = """Examples:

qbench sweep qca

qbench sweep qca --dataset her2st --data-dir her2st --samples 16

qbench sweep "qca[hidden=512]" --space my_space.yaml --search grid --scheduler fifo

qbench sweep qca --ray-address 127.0.0.1:6379 --gpus-per-trial 0.5

A killed sweep goes on where it was when the same command is given again."""


def add(app: typer.Typer) -> None:
    app.command("sweep", epilog=EPILOG)(sweep)


def sweep(
    method: Annotated[str, typer.Argument(help="The method to tune; settings in brackets stay fixed.")],
    space: Annotated[
        Path | None, typer.Option("--space", help="YAML of what to search; else the method's own.")
    ] = None,
    samples: Annotated[int | None, typer.Option("--samples", help="Points to draw for each fold, default 8.")] = None,
    search: Annotated[str, typer.Option("--search", help="random (default) or grid.")] = "random",
    scheduler: Annotated[str, typer.Option("--scheduler", help="asha (default, stops weak trials) or fifo.")] = "asha",
    gpus_per_trial: Annotated[
        str, typer.Option("--gpus-per-trial", help="auto (default: an equal share where there are GPUs) or a number.")
    ] = "auto",
    cpus_per_trial: Annotated[float, typer.Option("--cpus-per-trial", help="CPUs, and threads, of a trial.")] = 1.0,
    concurrent: Annotated[int | None, typer.Option("--concurrent", help="Most trials at once.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Start afresh where another sweep, or this one, stands.")] = False,
    dataset: flags.Dataset = None,
    data_dir: flags.DataDir = None,
    protocol: flags.ProtocolName = None,
    allow_leaky: flags.AllowLeaky = None,
    target: flags.Target = None,
    sections: flags.Sections = None,
    no_images: flags.NoImages = None,
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
    ray_address: flags.RayAddress = None,
    out: flags.Out = None,
    plugin: flags.Plugin = None,
    config: flags.Config = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Tune a method inside every fold, then train and score what was chosen."""
    from rich.console import Console

    from ...leaderboard.terminal import print_tables
    from ..engine.reporter import make_reporter
    from ..settings import read_options
    from ..sweep.report import as_dict, time_in_words, write_report
    from ..sweep.run import run_sweep
    from ..sweep.state import read_sweep_options

    given = {
        "dataset": dataset, "data_dir": data_dir, "protocol": protocol, "allow_leaky": allow_leaky, "target": target,
        "sections": sections, "no_images": no_images, "profile": profile, "encoder": encoder,
        "encoder_weights": encoder_weights, "microns_per_pixel": microns_per_pixel, "runtime": runtime, "seeds": seeds,
        "max_epochs": max_epochs, "select": select, "device": device, "precision": precision,
        "ray_address": ray_address, "out": out, "plugin": plugin,
    }  # fmt: skip
    settings = {
        "space": space, "samples": samples, "search": search, "scheduler": scheduler, "gpus_per_trial": gpus_per_trial,
        "cpus_per_trial": cpus_per_trial, "concurrent": concurrent, "new": new,
    }  # fmt: skip
    quiet = quiet or as_json
    done = run_sweep(
        method,
        read_options(given, config),
        read_sweep_options(settings),
        Console(stderr=True, highlight=False),
        make_reporter(quiet, verbose),
        quiet=quiet,
        verbose=verbose,
    )
    tables = write_report(done)
    if as_json:
        print(json.dumps(as_dict(done, tables), indent=1))
    else:
        console = Console(highlight=False)
        print_tables(tables, console)
        console.print(time_in_words(done), markup=False)
        console.print(f"Report, trials and plots: {done.folder}", markup=False, soft_wrap=True)
    if any(record.status == "failed" for record in done.records):
        raise typer.Exit(1)

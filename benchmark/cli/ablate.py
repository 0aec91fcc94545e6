"""`qbench ablate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from . import flags

if TYPE_CHECKING:
    from rich.console import Console

    from ..sweep.ablation import Ablated

EPILOG = """Examples:

qbench ablate qca

qbench ablate qca --dataset her2st --data-dir her2st --seeds 0,1,2 --workers 2"""


def add(app: typer.Typer) -> None:
    app.command("ablate", epilog=EPILOG)(ablate)


def ablate(
    method: Annotated[str, typer.Argument(help="The method whose paper's ablations are measured: qca.")],
    dataset: flags.Dataset = None,
    data_dir: flags.DataDir = None,
    protocol: flags.ProtocolName = None,
    allow_leaky: flags.AllowLeaky = None,
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
    workers: flags.Workers = None,
    ray_address: flags.RayAddress = None,
    out: flags.Out = None,
    config: flags.Config = None,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Measure the ablations of a method's paper, beside the paper's figures."""
    from rich.console import Console

    from ..engine.reporter import make_reporter
    from ..settings import read_options
    from ..sweep.ablation import as_dict, run_ablation

    given = {
        "dataset": dataset, "data_dir": data_dir, "protocol": protocol, "allow_leaky": allow_leaky, "target": target,
        "sections": sections, "profile": profile, "encoder": encoder, "encoder_weights": encoder_weights,
        "microns_per_pixel": microns_per_pixel, "runtime": runtime, "seeds": seeds, "max_epochs": max_epochs,
        "select": select, "device": device, "precision": precision, "workers": workers, "ray_address": ray_address,
        "out": out,
    }  # fmt: skip
    done = run_ablation(method, read_options(given, config), make_reporter(quiet or as_json, verbose))
    if as_json:
        print(json.dumps(as_dict(done), indent=1))
    else:
        _print(done, Console(highlight=False))
    if any(record.status == "failed" for record in done.records):
        raise typer.Exit(1)


def _print(done: Ablated, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from ...leaderboard.columns import number
    from ...leaderboard.reported import FIGURES
    from ..sweep.ablation import note

    for block in done.blocks:
        console.print(Text(f"{block.title} · {done.table.title}", style="bold"))
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        grid.add_column("row", overflow="fold")
        for header in ("MG", "HVG", "HEG", "MSE"):
            grid.add_column(header, justify="right", no_wrap=True)
            grid.add_column("paper", justify="right", no_wrap=True, style="dim")
        for row in block.reported.rows:
            cells = [Text(row.label)]
            for figure in FIGURES:
                pair = getattr(row, figure)
                cells.append(Text(number(block.measured[row.method].figure(figure).mean)))
                cells.append(Text(number(None if pair is None else pair[0])))
            grid.add_row(*cells)
        console.print(grid)
        for verdict in block.verdicts:
            console.print(f"  {verdict.text}", markup=False)
        console.print()
    console.print(note(done.table), markup=False)
    console.print(f"Report: {done.folder}", markup=False, soft_wrap=True)

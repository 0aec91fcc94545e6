"""`qbench ablate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigurationError
from . import flags

if TYPE_CHECKING:
    from rich.console import Console

    from ..sweep.ablation import Ablated
    from ..sweep.readings_run import Measured

EPILOG = """Examples:

qbench ablate qca

qbench ablate qca --dataset her2st --data-dir her2st --seeds 0,1,2 --workers 2

qbench ablate qca --readings --samples 16 --max-epochs 30 --workers 2"""


def add(app: typer.Typer) -> None:
    app.command("ablate", epilog=EPILOG)(ablate)


def ablate(
    method: Annotated[str, typer.Argument(help="The method whose paper's ablations are measured: qca.")],
    readings: Annotated[
        bool, typer.Option("--readings", help="Search the readings of what the paper leaves open, on validation sides.")
    ] = False,
    samples: Annotated[
        int | None, typer.Option("--samples", help="Of --readings: combinations to draw; all where they are few.")
    ] = None,
    claims: Annotated[
        int | None, typer.Option("--claims", help="Of --readings: combinations whose tables are measured, default 2.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Of --readings: start afresh where another search of readings stands.")
    ] = False,
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
    plugin: flags.Plugin = None,
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
        "out": out, "plugin": plugin,
    }  # fmt: skip
    if readings:
        _search(method, given, config, {"samples": samples, "claims": claims, "new": new}, as_json, quiet, verbose)
        return
    if samples is not None or claims is not None or new:
        raise ConfigurationError("--samples, --claims and --new belong to --readings; add that, or leave them out.")
    done = run_ablation(method, read_options(given, config), make_reporter(quiet or as_json, verbose))
    if as_json:
        print(json.dumps(as_dict(done), indent=1))
    else:
        _print(done, Console(highlight=False))
    if any(record.status == "failed" for record in done.records):
        raise typer.Exit(1)


def _search(
    method: str,
    given: dict[str, Any],
    config: Path | None,
    wanted: dict[str, Any],
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    from rich.console import Console

    from ...yaml_files import checked
    from ..engine.reporter import make_reporter
    from ..settings import read_options
    from ..sweep.readings_report import as_dict, write_readings
    from ..sweep.readings_run import ReadingsOptions, run_readings

    options = checked(
        ReadingsOptions,
        {name: value for name, value in wanted.items() if value is not None},
        lambda where: f"--{where[0]}",
        "'qbench ablate --help'",
    )
    quiet = quiet or as_json
    measured = run_readings(
        method,
        read_options(given, config),
        options,
        Console(stderr=True, highlight=False),
        make_reporter(quiet, verbose),
        quiet=quiet,
        verbose=verbose,
    )
    write_readings(measured)
    if as_json:
        print(json.dumps(as_dict(measured), indent=1))
    else:
        _print_readings(measured, Console(highlight=False))
    if any(record.status == "failed" for record in measured.records):
        raise typer.Exit(1)


def _print_readings(measured: Measured, console: Console) -> None:
    from rich import box
    from rich.table import Table

    from ...leaderboard.terminal import print_tables
    from ..sweep.ablation import note
    from ..sweep.readings_report import chosen_in_words, claim_cells, counts, effect_cells, title

    console.print(title(measured), style="bold", markup=False)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("point")
    grid.add_column("readings by median excess (* default)", overflow="fold")
    for row in effect_cells(measured):
        best_first = sorted(row, key=lambda cell: (cell.value is None, cell.value or 0.0))
        grid.add_row(row[0].row, " · ".join(cell.shown.replace("\n", " ") for cell in best_first))
    console.print(grid)
    console.print(chosen_in_words(measured), markup=False)
    print_tables([measured.nested], console)
    if measured.held:
        claims = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for header in ("claim of the paper", "holds", *(cell.column for cell in claim_cells(measured)[0])):
            claims.add_column(header, overflow="fold")
        for count, cells in zip(counts(measured), claim_cells(measured), strict=True):
            held = f"{count.held} of {count.measured}"
            claims.add_row(cells[0].row, held, *(cell.shown for cell in cells))
        console.print(claims)
        console.print(note(measured.table or measured.nested), markup=False)
    console.print(f"Report and heat map: {measured.folder}", markup=False, soft_wrap=True)


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

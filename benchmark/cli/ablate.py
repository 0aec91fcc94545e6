"""`qbench ablate`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ConfigurationError
from ..settings import RunSettings
from ..sweep.settings import ReadingsSettings
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


@flags.taking("ablate")
def ablate(
    *,
    method: Annotated[str, typer.Argument(help="The method whose paper's ablations are measured: qca.")],
    readings: Annotated[
        bool, typer.Option("--readings", help="Search the readings of what the paper leaves open, on validation sides.")
    ] = False,
    wanted: ReadingsSettings,
    settings: RunSettings,
    as_json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = False,
) -> None:
    """Measure the ablations of a method's paper, beside the paper's figures."""
    from rich.console import Console

    from ..engine.reporter import make_reporter
    from ..sweep.ablation import as_dict, run_ablation

    if readings:
        _search(method, settings, wanted, as_json, quiet, verbose)
        return
    if wanted != ReadingsSettings():
        raise ConfigurationError("--samples, --claims and --new belong to --readings; add that, or leave them out.")
    done = run_ablation(method, settings, make_reporter(quiet or as_json, verbose))
    if as_json:
        print(json.dumps(as_dict(done), indent=1))
    else:
        _print(done, Console(highlight=False))
    if any(record.status == "failed" for record in done.records):
        raise typer.Exit(1)


def _search(
    method: str, settings: RunSettings, wanted: ReadingsSettings, as_json: bool, quiet: bool, verbose: bool
) -> None:
    from rich.console import Console

    from ..engine.reporter import make_reporter
    from ..sweep.readings_report import as_dict, write_readings
    from ..sweep.readings_run import run_readings

    quiet = quiet or as_json
    measured = run_readings(
        method,
        settings,
        wanted,
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
    from rich.text import Text

    from ...leaderboard.terminal import print_tables
    from ..sweep.ablation import note
    from ..sweep.readings_report import chosen_in_words, claim_cells, counts, effect_cells, title

    console.print(title(measured), style="bold", markup=False)
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("point")
    grid.add_column("readings by median excess (* default)", overflow="fold")
    for row in effect_cells(measured):
        best_first = sorted(row, key=lambda cell: (cell.value is None, cell.value or 0.0))
        grid.add_row(Text(row[0].row), Text(" · ".join(cell.shown.replace("\n", " ") for cell in best_first)))
    console.print(grid)
    console.print(chosen_in_words(measured), markup=False)
    print_tables([measured.nested], console)
    if measured.held:
        claims = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for header in ("claim of the paper", "holds", *(cell.column for cell in claim_cells(measured)[0])):
            claims.add_column(header, overflow="fold")
        for count, cells in zip(counts(measured), claim_cells(measured), strict=True):
            held = f"{count.held} of {count.measured}"
            claims.add_row(Text(cells[0].row), held, *(Text(cell.shown) for cell in cells))
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

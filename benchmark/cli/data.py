"""`qbench data`: list, fetch, verify and add datasets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import flags
from .data_fetch import fetch

if TYPE_CHECKING:
    from ...datasets.check import DatasetCheck

Name = Annotated[str, typer.Argument(help="A dataset, or FILE.yaml of your own.")]


def add(app: typer.Typer) -> None:
    group = typer.Typer(help="Datasets: list, fetch, verify, and add your own.", no_args_is_help=True)
    group.command("list", epilog="Example: qbench data list --json")(list_)
    group.command(
        "fetch",
        epilog="Examples:\n\nqbench data fetch her2st --to her2st\n\nqbench data fetch hest --sections TENX95,TENX99 --to hest\n\n"
        "qbench data fetch hest-bench --tasks IDC --to hest-bench",
    )(fetch)
    group.command(
        "verify", epilog="Examples:\n\nqbench data verify her2st --data-dir her2st\n\nqbench data verify mine.yaml"
    )(verify)
    group.command(
        "add",
        epilog="Examples:\n\nqbench data add sections --name mine --patients patients.csv\n\n"
        "qbench run --methods ridge --dataset mine.yaml",
    )(add_)
    app.add_typer(group, name="data")


def list_(as_json: flags.Json = False) -> None:
    """List the datasets, whether they can be fetched, and who brought them."""
    from ...datasets import registry
    from ...errors import ConfigurationError

    rows: list[dict[str, Any]] = []
    for name in registry.names():
        try:
            card = registry.card(name)
        except ConfigurationError as error:  # one broken package hides no other dataset
            broken = dict.fromkeys(("sections", "fetched from", "licence"))
            rows.append({"name": name, "title": f"broken: {error}", **broken, "origin": registry.origin(name)})
            continue
        rows.append(
            {
                "name": name,
                "title": card.title,
                "sections": len(card.expected_spots) or len(card.sections) or None,
                "fetched from": ", ".join(card.sources) or ("made here" if card.simulated else "a folder"),
                "licence": card.licence,
                "origin": registry.origin(name),
            }
        )
    if as_json:
        print(json.dumps({"schema": 1, "datasets": rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for header in rows[0]:
        table.add_column(header, overflow="fold", style="bold" if header == "name" else "")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row.values()))
    Console(highlight=False).print(table)


def verify(name: Name, data_dir: flags.DataDir = None, as_json: flags.Json = False, quiet: flags.Quiet = False) -> None:
    """Check a folder: counts, spots, joins, images (decoded whole), coordinates, checksums of what was fetched."""
    from dataclasses import asdict

    from ...datasets.cache import ArrayCache
    from ...datasets.check import check_dataset
    from .progress import Bars

    if data_dir is None and os.environ.get("QBENCH_DATA") and not name.endswith((".yaml", ".yml")):
        data_dir = Path(os.environ["QBENCH_DATA"])
    with Bars(quiet or as_json) as bars:
        found = check_dataset(name, data_dir, ArrayCache(), bars)
    if as_json:
        print(json.dumps({"schema": 1, "dataset": name, "sound": found.sound, **asdict(found)}, indent=1))
    else:
        _show(found, quiet)
    if not found.sound:
        raise typer.Exit(found.exit_code)


def add_(
    folder: Annotated[Path, typer.Argument(help="Folder with the sections' files.")],
    name: Annotated[str, typer.Option("--name", help="Name of the dataset.")],
    to: Annotated[Path | None, typer.Option("--to", help="The card to write, default NAME.yaml here.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="h5ad, hest, spatialdata, tables or visium; found out without it.")
    ] = None,
    patients: Annotated[Path | None, typer.Option("--patients", help="CSV with columns section and patient.")] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="Where raw counts lie in .h5ad files: a layer, or raw.")
    ] = None,
    bin_edge: Annotated[
        str | None, typer.Option("--bin", help="Edge of the bins to read of Visium HD (8um), or to count Xenium in.")
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Write the card of your own sections from a folder, and check every one of them."""
    from ...datasets.add import write_dataset_card
    from ...datasets.cache import ArrayCache
    from ...datasets.check import check_dataset
    from ...names import path_part
    from .progress import Bars

    card = to or Path(f"{path_part(name)}.yaml")
    sections = write_dataset_card(folder, form, name, card, patients, layer, bin_edge)
    with Bars(quiet) as bars:
        found = check_dataset(str(card), None, ArrayCache(), bars)
    _show(found, quiet)
    if not found.sound:
        typer.echo(f"{card} is written; mend it or the files, then run 'qbench data verify {card}'.", err=True)
        raise typer.Exit(found.exit_code)
    typer.echo(
        f"{card}: {len(sections)} {'section' if len(sections) == 1 else 'sections'}; use it with --dataset {card}"
    )


def _show(found: DatasetCheck, quiet: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ...names import shown

    console = Console(highlight=False)
    if not quiet:
        table = Table(box=None, pad_edge=False)
        for header in ("", "section", "patient", "spots", "genes", "UMI", "image", "µm/pixel", "remarks"):
            table.add_column(
                header, overflow="fold", justify="right" if header in ("spots", "genes", "UMI") else "left"
            )
        for section in found.sections:
            mark = "[green]✓[/green]" if section.problem is None else "[red]✗[/red]"
            figures = (
                (f"{section.spots:,}", f"{section.genes:,}", f"{section.umi:,}") if section.spots else ("", "", "")
            )
            remarks = Text("; ".join(section.notes))
            micron = "" if section.microns_per_pixel is None else f"{section.microns_per_pixel:.4g}"
            table.add_row(mark, section.id, Text(section.patient), *figures, section.image, micron, remarks)
        console.print(table)
        for source in sorted({section.scale for section in found.sections} - {""}):
            console.print(f"µm/pixel: as {source} says", markup=False, soft_wrap=True)
        for note in found.notes:
            console.print(shown(note), markup=False, soft_wrap=True)
        if found.fetched:
            console.print(f"{found.fetched} fetched files have their recorded sha256.")
    wrong = [section.id for section in found.sections if section.problem is not None]
    broken = [section.problem for section in found.sections if section.problem is not None]
    for problem in (*broken, *found.problems, *found.leaks):  # whole lines: a column would cut paths apart
        console.print(shown(problem, keep=""), markup=False, soft_wrap=True)
    n = len(found.sections)
    console.print(
        f"[red]✗[/red] {len(wrong)} of {n} sections {'is' if len(wrong) == 1 else 'are'} not sound: {', '.join(wrong)}"
        if wrong
        else f"[green]✓[/green] {n} {'section is' if n == 1 else 'sections are'} sound"
        + (", but see above" if found.problems or found.leaks else "")
    )

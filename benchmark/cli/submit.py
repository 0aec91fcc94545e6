"""`qbench submit`: results for the open board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import flags


def add(app: typer.Typer) -> None:
    app.command(
        "submit",
        epilog="Examples:\n\nqbench submit runs --to results/jane-2026-11 --by 'Jane Doe, Example University' --methods ridge\n\n"
        "qbench verify results/jane-2026-11",
    )(submit)


def submit(
    runs: flags.Runs = Path("runs"),
    out: flags.Out = None,
    *,
    to: Annotated[Path, typer.Option("--to", help="A new folder for the bundle.")],
    by: Annotated[str, typer.Option("--by", help="Who ran the cells, as the board shows it.")],
    methods: Annotated[
        list[str] | None, typer.Option("--methods", "-m", help="Rows to pack, by label or name; all without it.")
    ] = None,
    protocols: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="Tables to pack, by the protocol's name or hash; all without it."),
    ] = None,
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Pack predictions too, so that everybody can compute the scores again."),
    ] = False,
) -> None:
    """Pack verified results into a bundle for the open board: records, scores, and predictions where you give them."""
    from ...methods.registry import split_list
    from ..external.submit import submit as pack

    bundle = pack(
        out or runs,
        to,
        by,
        [label for text in methods or [] for label in split_list(text)],
        protocols or [],
        predictions,
    )
    cells = sum(name.endswith("/record.json") for name in bundle.files)
    how = (
        "verified by their predictions"
        if predictions
        else "reported: without --predictions nobody can compute the scores again"
    )
    typer.echo(f"{cells} cells packed into {to} ({how}); send it as a pull request that adds it below results/.")

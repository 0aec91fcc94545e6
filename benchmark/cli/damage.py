"""A command that meets damaged results names each, goes on with the rest, and ends with exit code 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import typer

from ...datasets.cache_root import default_root
from ...errors import IntegrityError
from ...names import shown


@contextmanager
def naming_damage() -> Iterator[Callable[[str], None]]:
    """Gives what is told of each damaged result; the command ends with exit code 3 if anything was told."""
    told: list[str] = []

    def name(sentence: str) -> None:
        told.append(sentence)
        typer.echo(f"damaged: {shown(sentence, keep='')}", err=True)

    yield name
    if told:
        raise typer.Exit(IntegrityError.exit_code)


def remembering(runs: Path) -> AbstractContextManager[Callable[[Path], str]]:
    """Gives the sha256 of a runs folder's files, read once while they stay as they are; `verify` reads them always."""
    from ...datasets.hashing import remembered_sha256

    return remembered_sha256(runs, default_root())

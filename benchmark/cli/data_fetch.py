"""`qbench data fetch`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from . import flags


def fetch(
    name: Annotated[str, typer.Argument(help="A dataset that names a public source.")],
    data_dir: Annotated[
        Path | None,
        typer.Option("--to", "--data-dir", help="Folder to fetch into; else QBENCH_DATA, else one of its name here."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Which of the card's sources; the first by default.")
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option("--sections", help="Of a dataset fetched by section: those wanted, separated by commas."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", help="Of hest-bench: the tasks wanted, separated by commas, each into a folder of its name."
        ),
    ] = None,
    password: Annotated[
        list[str] | None,
        typer.Option(
            "--password", metavar="NAME=TEXT", help="Password of encrypted archives; else QBENCH_PASSWORD_NAME."
        ),
    ] = None,
    quiet: flags.Quiet = False,
) -> None:
    """Fetch a dataset's public files; a cut connection is resumed, a complete folder left alone."""
    from ...errors import ConfigurationError
    from ..engine.tasks import BENCHMARK, dataset_of

    folder = data_dir or Path(os.environ.get("QBENCH_DATA") or name)
    wanted, by_task = _listed(sections), _listed(tasks)
    if by_task and name != BENCHMARK:
        raise ConfigurationError(f"Only {BENCHMARK} is fetched by task; leave out --tasks, or name {BENCHMARK}.")
    if name == BENCHMARK and not by_task:
        raise ConfigurationError(
            f"{BENCHMARK} is fetched by task, 40 GB in all: name those wanted with --tasks IDC,PRAD."
        )
    places = {dataset_of(task): folder / task for task in by_task} or {name: folder}
    keys = _passwords(password or ())
    for dataset, to in places.items():
        said = _fetch(dataset, to, source, keys, wanted, quiet)
        if not quiet:
            typer.echo("\n".join(said))


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _passwords(given: Iterable[str]) -> dict[str, str]:
    """By name, from --password and the environment.

    Raises:
        ConfigurationError: not NAME=TEXT.
    """
    from ...errors import ConfigurationError

    passwords = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"Expected --password NAME=TEXT, found '{key}'; the card names the passwords.")
        passwords[key] = value
    for key, value in os.environ.items():
        if key.startswith("QBENCH_PASSWORD_"):
            passwords.setdefault(key.removeprefix("QBENCH_PASSWORD_").lower(), value)
    return passwords


def _fetch(
    name: str, to: Path, source: str | None, passwords: Mapping[str, str], sections: Sequence[str], quiet: bool
) -> list[str]:
    """Fetch one dataset; returns what to say of it."""
    from ...datasets.fetch import fetch as fetch_files
    from ...datasets.fetched import RECORD
    from ...datasets.registry import card
    from .progress import Bars

    found = card(name)
    if not (to / RECORD).is_file() and _complete(name, to):
        return [f"{to} holds all {len(found.expected_spots)} sections of {name} with their images: left alone."]
    with Bars(quiet, bytes_of_files=True) as bars:
        done = fetch_files(found, to, source, passwords, bars, sections)
    counted = f"{len(done.new)} files fetched, {len(done.kept)} were there"
    return [*done.notes, f"{name} from {done.source}: {counted}; use it with --data-dir {to}"]


def _complete(name: str, folder: Path) -> bool:
    """Whether a folder that was not fetched holds every section and image of a dataset."""
    from ...datasets.cache import ArrayCache
    from ...datasets.registry import card, open_dataset
    from ...errors import DataError

    expected = set(card(name).expected_spots)
    if not expected or not folder.is_dir():
        return False
    try:
        sections = open_dataset(name, folder, ArrayCache()).sections
    except DataError:
        return False  # not a folder of this dataset yet: fetching makes it one
    return {info.id for info in sections} == expected and all(info.image is not None for info in sections)

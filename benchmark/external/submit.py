"""Packing rows of a runs folder into a bundle for the open board."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ...errors import ConfigurationError, IntegrityError, unknown
from ...files import regular_bytes, write_bytes, write_text, written_folder
from ...leaderboard.record import Record, find_records
from ...version import __version__
from ..engine.environment import cpu_name
from ..engine.verify import PREDICTIONS, check_cell
from .bundle import CONTENTS, RECORD, SCORES, Bundle, unfit


def submit(
    runs: Path, to: Path, by: str, methods: Sequence[str] = (), protocols: Sequence[str] = (), predictions: bool = False
) -> Bundle:
    """Pack chosen cells of a runs folder; each is verified first.

    Args:
        runs: the runs folder.
        to: the bundle's folder, which must not exist yet.
        by: who ran the cells, as the board shows it.
        methods: labels or names of the rows to pack; all without any.
        protocols: names or hashes (or how they begin) of the tables to pack; all without any.
        predictions: pack predictions too, so that everybody can compute the scores again.

    Raises:
        ConfigurationError: nothing to pack, a name that no row has, a folder that exists, or `by` that cannot be shown.
        IntegrityError: a cell that failed or that does not verify.
    """
    if to.exists():
        raise ConfigurationError(f"Expected a new folder for the bundle, but {to} exists; name another.")
    chosen = _chosen(find_records(runs), runs, methods, protocols)
    for folder, record in chosen:
        problems = unfit(record) or check_cell(folder, record)
        if problems:
            raise IntegrityError(
                f"Expected cells that verify, but {folder.name}: {problems[0]}. Run 'qbench verify {runs}' and mend it."
            )
    machines = sorted({_machine(record) for _, record in chosen})
    with written_folder(to) as new:
        files = {}
        for folder, _ in chosen:
            for name in (RECORD, SCORES, *([PREDICTIONS] if predictions else [])):
                content = regular_bytes(folder / name)
                place = f"{folder.parent.name}/{folder.name}/{name}"
                write_bytes(new / place, content)
                files[place] = hashlib.sha256(content).hexdigest()
        bundle = _described(by, "; ".join(machines)[:100], files)
        write_text(new / CONTENTS, bundle.model_dump_json(by_alias=True, indent=1) + "\n")
    return bundle


def _chosen(
    found: list[tuple[Path, Record]], runs: Path, methods: Sequence[str], protocols: Sequence[str]
) -> list[tuple[Path, Record]]:
    if not found:
        raise ConfigurationError(f"Expected records in {runs}, found none; name a runs folder.")
    rows = sorted({name for _, record in found for name in (record.method.label, record.method.name)})
    for method in methods:
        if method not in rows:
            raise unknown("row", method, rows)
    tables = sorted({record.protocol.name for _, record in found})
    for protocol in protocols:
        if not any(_of(record, protocol) for _, record in found):
            raise unknown("protocol", protocol, tables)
    return [
        (folder, record)
        for folder, record in found
        if (not methods or record.method.label in methods or record.method.name in methods)
        and (not protocols or any(_of(record, protocol) for protocol in protocols))
    ]


def _of(record: Record, protocol: str) -> bool:
    return protocol == record.protocol.name or record.protocol.hash.startswith(protocol)


def _machine(record: Record) -> str:
    there = record.environment
    return cpu_name() if there is None else there.gpu or there.cpu


def _described(by: str, machines: str, files: dict[str, str]) -> Bundle:
    try:
        return Bundle(by=by, on=machines, qbench=__version__, created=f"{datetime.now(UTC):%Y-%m-%d}", files=files)
    except ValueError as error:
        raise ConfigurationError(
            f"Expected --by as one line of 1 to 100 characters without | < >, found {by!r}; say who ran the cells."
        ) from error

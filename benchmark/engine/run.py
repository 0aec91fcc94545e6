"""`qbench run`: prepare inputs once, run what is missing, read the rest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from ...datasets.cache import ArrayCache
from ...datasets.gene_names import missing_notes
from ...datasets.views import Views
from ...errors import ConfigurationError, IntegrityError
from ...files import remove_leftovers
from ...leaderboard.record import Record
from ...methods.encoders.features import release
from ...methods.encoders.registry import EncoderSpec
from .inputs import prepare
from .plan import Plan, PlannedCell
from .process import warm
from .reporter import Reporter
from .worker import run_apart


def execute(plan: Plan, reporter: Reporter, damaged: Callable[[str], None] | None = None) -> list[Record]:
    """Run the plan's pending cells and return the records of all its cells, in the plan's order.

    Args:
        plan: the cells.
        reporter: told what happens.
        damaged: told a sentence for each cell whose stored record is damaged; those are neither run nor returned.

    Raises:
        IntegrityError: a damaged record, where `damaged` is None, once all that is to run has run.
    """
    for note in plan.notes:
        reporter.note(note)
    pending = plan.pending()
    records = {cell.task.cell: cell.record for cell in plan.cells if cell.record is not None}
    reporter.start(len(plan.cells), len(plan.cells) - len(pending))
    try:
        if pending:
            _check_writable(pending[0].task.folder.parent)
            remove_leftovers(pending[0].task.folder.parent)
            if not _through_ray(plan):
                warm()  # it imports while the inputs are made
            _prepare(plan, {(cell.task.method, cell.task.encoder) for cell in pending}, reporter)
            records |= _run_cells(plan, pending, reporter)
            remove_leftovers(
                pending[0].task.folder.parent
            )  # a killed run's cell may have ended its last write after the first
    finally:
        reporter.finish()
    for sentence in (cell.reason for cell in plan.cells if cell.state == "damaged"):
        if damaged is None:
            raise IntegrityError(sentence)
        damaged(sentence)
    for note in missing_notes(genes_missing(records.values())):
        reporter.note(note)
    return [found for cell in plan.cells if (found := records.get(cell.task.cell)) is not None]


def _check_writable(folder: Path) -> None:
    """Make the folder of the cells before hours are spent on what could not be saved there.

    Raises:
        ConfigurationError: it cannot be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigurationError(
            f"Expected a folder for cells that can be written at {folder}, but: {error.strerror}; choose another --out."
        ) from error


def _run_cells(plan: Plan, pending: list[PlannedCell], reporter: Reporter) -> dict[str, Record]:
    """Run cells here, one after another, or through Ray where workers or a cluster were asked for."""
    if _through_ray(plan):
        from .cluster import run_on_ray

        return run_on_ray([cell.task for cell in pending], plan.options, reporter)
    records = {}
    for cell in pending:
        reporter.cell_started(cell.task, cell.reason)
        record = run_apart(cell.task, partial(reporter.cell_event, cell.task))
        records[cell.task.cell] = record
        reporter.cell_done(cell.task, record)
    return records


def _through_ray(plan: Plan) -> bool:
    return bool(plan.options.workers or plan.options.ray_address)


def genes_missing(records: Iterable[Record]) -> dict[str, set[str]]:
    """By section the panel genes of any of the records that its file does not have."""
    missing: dict[str, set[str]] = {}
    for record in records:
        for section, genes in record.genes_missing.items():
            missing.setdefault(section, set()).update(genes)
    return missing


def _prepare(plan: Plan, pending: set[tuple[str, str | None]], reporter: Reporter) -> None:
    """Decode, crop and encode what the pending cells read, each section once for all encoders."""
    wanted = [m for m in plan.methods if (m.spec.label, m.crossed) in pending and m.inputs.image]
    if not wanted:
        return
    encoders = {_name(spec): spec for method in wanted for spec in method.encoders.values()}
    views: dict[str, dict[Views, None]] = {}
    for method in wanted:
        if method.inputs.views:
            views.setdefault(_name(method.encoders[""]), {}).update(dict.fromkeys(method.inputs.views))
    patch = plan.cells[0].task.patch
    pixels, cache = any(method.inputs.pixels for method in wanted), ArrayCache(plan.cache)
    around = [method.inputs.surroundings for method in wanted]
    prepare(plan.dataset, plan.protocol.sections, encoders, patch, cache, reporter.preparing, views, pixels, around)
    release()  # the cells, in processes of their own, need the memory of the GPU


def _name(encoder: EncoderSpec) -> str:
    """What tells the encoders of several methods apart."""
    return encoder.name + encoder.sha256

"""What a run will do: the sections, the protocol, its folds, and every cell with whether it is done already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold
from ...datasets.hashing import canonical_hash
from ...datasets.protocol import Protocol
from ...datasets.registry import Dataset
from ...errors import ConfigurationError, QbenchError
from ...leaderboard.record import PatchRecord, Record
from ...methods.encoders.registry import EVERY, say_what_is_slow
from ...methods.machine import choose_precision, resolve_device
from ...methods.registry import names as method_names
from ..scoring.plugin_metrics import left_out
from ..settings import RunSettings
from .changes import differences
from .identity import identity_on, trained_by
from .resolve import ResolvedMethod, refused_claims, resolve_method
from .runs_folder import RunsFolder
from .settle import Settled, open_data, settle_protocol
from .task import CellTask

PATCH_SIZE = 224  # pixels; every encoder's input, and the window of ST-Net, BLEEP and QCA


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its state in the runs folder, and why it is not simply read from there."""

    task: CellTask
    state: Literal["cached", "failed", "damaged", "to do"]
    reason: str
    record: Record | None = None


@dataclass(frozen=True)
class Ground:
    """What all cells of a run stand on: its options, the data, the protocol on them, and what computes."""

    options: RunSettings
    dataset: Dataset
    settled: Settled
    device: str
    precision: Literal["fp32", "bf16"]
    cache: ArrayCache
    shared: dict[str, dict[str, Any]] = field(default_factory=dict)  # by fold, what all methods' identities share

    def resolve(self, text: str) -> ResolvedMethod:
        """A method with its encoders, its training steps run as the folds of this protocol want it.

        Raises:
            ConfigurationError: see `resolve_method`.
        """
        return self.stepping(resolve_method(text, self.options, self.device))

    def stepping(self, resolved: ResolvedMethod) -> ResolvedMethod:
        """A resolved method with its training steps run as the folds of this protocol want it."""
        options = self.options
        return resolved.stepping_for(
            options.runtime, self.device, self.precision, self.settled.folds, options.max_epochs
        )

    def task(self, resolved: ResolvedMethod, fold: Fold, seed: int) -> CellTask:
        """The cell of a method, fold and seed."""
        options, protocol = self.options.under(resolved.crossed), self.settled.protocol
        patch = patch_of(options)
        trained = trained_by(resolved, options, patch, self.precision, seed)
        if fold.name not in self.shared:
            self.shared[fold.name] = identity_on(self.dataset, fold, self.settled.spots, options.target, protocol)
        identity = {**trained, **self.shared[fold.name]}
        return CellTask(
            cell=canonical_hash(identity),
            identity=identity,
            method=resolved.spec.label,
            settings=options,
            encoder=resolved.crossed,
            cache=self.cache.root,
            protocol=protocol,
            leaky=self.settled.leaky,
            fold=fold,
            patch=patch,
            seed=seed,
            device=self.device,
            precision=self.precision,
            steps=resolved.steps,
            threads=1 if options.workers or options.ray_address else available_cores(),
        )

    def tasks(self, resolved: ResolvedMethod, folds: Sequence[Fold]) -> list[CellTask]:
        """The cells of a method on some folds, one a seed; a method that the seed does not change has one a fold."""
        seeds = self.options.seeds if resolved.spec.cls.seeded else (0,)
        return [self.task(resolved, fold, seed) for fold in folds for seed in seeds]

    def looked_up(self, tasks: Sequence[CellTask]) -> list[PlannedCell]:
        """Cells with their state in the runs folder, each of whose records is read once at most."""
        stored = RunsFolder(self.options.out, self.settled.protocol)
        return [_plan_cell(task, stored) for task in tasks]


@dataclass(frozen=True)
class Plan:
    """A run before it starts."""

    ground: Ground
    options: RunSettings
    methods: tuple[ResolvedMethod, ...]
    cells: tuple[PlannedCell, ...]
    notes: tuple[str, ...]

    @property
    def dataset(self) -> Dataset:
        """The dataset that every cell reads."""
        return self.ground.dataset

    @property
    def protocol(self) -> Protocol:
        """The protocol with what the command line settled: sections, target, pooling."""
        return self.ground.settled.protocol

    @property
    def cache(self) -> Path:
        """The folder of the array cache, handed to cells that run in other processes."""
        return self.ground.cache.root

    @property
    def folders(self) -> dict[str, Path]:
        """The folder of each cell, by the cell's hash."""
        return {cell.task.cell: cell.task.folder for cell in self.cells}

    def pending(self) -> list[PlannedCell]:
        """The cells to run; failed ones only with --retry-failed."""
        again = self.options.retry_failed
        return [cell for cell in self.cells if cell.state == "to do" or (again and cell.state == "failed")]


def make_plan(options: RunSettings) -> Plan:
    """Resolve everything that a run names, and look up which cells are done; imports no torch."""
    if not options.methods:
        raise ConfigurationError(
            f"Name the methods to run with --methods, for example qca,bleep. Known: {', '.join(method_names())}."
        )
    cache = ArrayCache()
    device = resolve_device(options.device)
    methods = _resolve_all(options, device)
    if options.no_images:
        blind = list(dict.fromkeys(m.spec.label for m in methods if m.inputs.image))
        if blind:
            raise ConfigurationError(
                f"--no-images was given, but {', '.join(blind)} reads images; leave it out, or drop the flag."
            )
    dataset = open_data(options, cache)
    settled = settle_protocol(options, dataset, cache)
    precision = choose_precision(options.precision, options.profile, device)
    ground = Ground(options, dataset, settled, device, precision, cache)
    methods = [ground.stepping(resolved) for resolved in methods]
    tasks = [task for resolved in methods for task in ground.tasks(resolved, settled.folds)]
    notes = (*refused_claims(methods, options.dataset, dataset.card.reader), *left_out(), *settled.notes)
    notes = (*_unread_weights(methods, options), *notes)
    return Plan(ground, options, tuple(methods), tuple(ground.looked_up(tasks)), notes)


def _resolve_all(options: RunSettings, device: str) -> list[ResolvedMethod]:
    """Each method once, or once an encoder of --encoders where it reads the run's; in the order in which they were named."""
    methods: dict[tuple[str, str | None], ResolvedMethod] = {}
    for text in options.methods:
        for encoder in options.encoders or (None,):
            resolved = resolve_method(text, options.under(encoder), device)
            crossed = encoder if resolved.reads_the_runs_encoder else None
            methods.setdefault((resolved.spec.label, crossed), replace(resolved, crossed=crossed))
            say_what_is_slow(resolved.encoders.values(), options.runtime)
    return list(methods.values())


def _unread_weights(methods: Sequence[ResolvedMethod], options: RunSettings) -> list[str]:
    """What to say of files of weights that nothing reads: a name may be misspelt."""
    read = {encoder.name for m in methods for encoder in (*m.encoders.values(), m.backbone) if encoder is not None}
    unread = sorted(options.weights.keys() - read - {EVERY})
    return [f"--encoder-weights names {', '.join(unread)}, which no method of this run reads."] if unread else []


def patch_of(options: RunSettings) -> PatchRecord:
    """The patches that image methods read in a run."""
    return PatchRecord(size=PATCH_SIZE, microns_per_pixel=options.microns_per_pixel, stain=options.stain)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan_cell(task: CellTask, stored: RunsFolder) -> PlannedCell:
    try:
        record = stored.of(task)
    except QbenchError as error:
        return PlannedCell(task, "damaged", str(error))
    if record is not None and record.cell == task.cell:
        if record.status == "done":
            return PlannedCell(task, "cached", "done", record)
        message = record.failure.message if record.failure else "failed"
        return PlannedCell(task, "failed", f"failed before: {message}", record)
    return PlannedCell(task, "to do", _why(task, stored.newest_like(task)))


def _why(task: CellTask, last: Record | None) -> str:
    """Why a cell must run: it is new, or what changed since the last one of the same method, fold and seed."""
    if last is None:
        return "new"
    if "rules" not in last.identity:
        return "the last one was made by an older qbench, which did not hold all that decides its number"
    changed = differences(last.identity, task.identity)
    return f"changed: {'; '.join(changed)}" if changed else "new"

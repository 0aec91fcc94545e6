"""What a run will do: the sections, the protocol, its folds, and every cell with whether it is done already."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold, is_leaky, make_folds
from ...datasets.gene_names import check_gene_names
from ...datasets.hashing import canonical_hash
from ...datasets.leaks import check_leaks, one_patient_notes
from ...datasets.protocol import Protocol, ProtocolFile, read_protocol, rules
from ...datasets.registry import Dataset, SectionInfo, open_dataset
from ...errors import ConfigurationError, IntegrityError, unknown
from ...leaderboard.record import PatchRecord, Record, read_record
from ...methods.machine import choose_precision, resolve_device
from ...methods.registry import names as method_names
from ..plugins import refused_claims
from ..scoring.plugin_metrics import left_out
from ..settings import RunOptions
from .changes import differences
from .identity import Spots, data_hash, identity_of, read_spots, trained_by
from .resolve import ResolvedMethod, resolve_method
from .task import CellTask

PATCH_SIZE = 224  # pixels; every encoder's input, and the window of ST-Net, BLEEP and QCA


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its state in the runs folder, and why it is not simply read from there."""

    task: CellTask
    state: Literal["cached", "failed", "to do"]
    reason: str
    record: Record | None = None


@dataclass(frozen=True)
class Plan:
    """A run before it starts."""

    options: RunOptions
    dataset: Dataset
    protocol: Protocol
    methods: tuple[ResolvedMethod, ...]
    cells: tuple[PlannedCell, ...]
    notes: tuple[str, ...]
    cache: Path

    def pending(self) -> list[PlannedCell]:
        """The cells to run; failed ones only with --retry-failed."""
        again = self.options.retry_failed
        return [cell for cell in self.cells if cell.state == "to do" or (again and cell.state == "failed")]


def open_data(options: RunOptions, cache: ArrayCache) -> Dataset:
    """The dataset of a run; its folder comes from --data-dir, else from QBENCH_DATA."""
    return open_dataset(options.dataset, options.data_dir, cache)


def choose_sections(
    dataset: Dataset, wanted: tuple[str, ...], images: bool, listed: tuple[str, ...] | None
) -> tuple[list[SectionInfo], list[str]]:
    """The sections that take part, sorted by id, and notes on those left out.

    Raises:
        ConfigurationError: a section asked for by name that is unknown, or has no image where images are needed.
    """
    known = {info.id: info for info in dataset.sections}
    for name in wanted:
        if name not in known:
            raise unknown(f"section of {dataset.card.name}", name, known)
        if images and known[name].image is None:
            raise ConfigurationError(
                f"Section {name} of {dataset.card.name} has no image here; add it to the folder, leave the section out, "
                "or use --no-images with methods that need none."
            )
    chosen = [known[name] for name in sorted(set(wanted) or known)]
    notes = []
    if listed is not None:
        absent = [name for name in listed if name not in known]
        if absent:
            notes.append(f"The protocol lists {', '.join(absent)}, which this folder does not have.")
        chosen = [info for info in chosen if info.id in set(listed)]
    if images:
        without = [info.id for info in chosen if info.image is None]
        if without:
            notes.append(
                f"Left out, no image: {', '.join(without)} (--no-images uses them with methods that need none)."
            )
        chosen = [info for info in chosen if info.image is not None]
    if not chosen:
        raise ConfigurationError(
            f"No section of {dataset.card.name} is left to run on; check --sections, --protocol and the images in its folder."
        )
    return chosen, notes


@dataclass(frozen=True)
class Settled:
    """A protocol on the sections at hand: its folds, whether it leaks a patient, notes, and by section patient and spots."""

    protocol: Protocol
    folds: tuple[Fold, ...]
    leaky: bool
    notes: list[str]
    patients: dict[str, str]
    spots: Spots


def settle_protocol(options: RunOptions, dataset: Dataset, cache: ArrayCache) -> Settled:
    """The protocol that the options name, on the sections that the dataset has; sections that are not cached are parsed.

    Raises:
        IntegrityError: a leaky protocol without --allow-leaky, or any other leak.
        DataError: damaged tables, or sections that name their genes in different ways.
    """
    file: ProtocolFile = read_protocol(options.protocol)
    if file.dataset is not None and file.dataset != dataset.card.name:
        raise ConfigurationError(
            f"Protocol '{file.name}' belongs to the dataset {file.dataset}, found {dataset.card.name}; "
            f"use --dataset {file.dataset}, or another protocol."
        )
    infos, notes = choose_sections(dataset, options.sections, not options.no_images, file.sections)
    notes = [*dataset.notes, *notes]
    patients = {info.id: info.patient for info in infos}
    spots = read_spots(dataset, patients, cache)
    protocol = Protocol(
        name=file.name,
        title=file.title,
        dataset=dataset.card.name,
        sections=tuple(info.id for info in infos),
        held_out=file.held_out,
        unit=file.unit,
        folds=file.folds,
        target=options.target,
        images=not options.no_images,
        patients=patients,
        data=data_hash(spots),
        rules=rules(dataset.card.markers, dataset.card.technical_genes),
    )
    folds = make_folds(protocol, patients)
    leaky = protocol.unit == "section" or is_leaky(folds, patients)
    if leaky and not options.allow_leaky:
        raise IntegrityError(
            f"Protocol '{protocol.name}' leaks: a test section's patient may be in training; its numbers do not say how a "
            "method does on a new patient. Add --allow-leaky to run it, in a table of its own."
        )
    check_gene_names(dataset, protocol.sections, cache)
    notes += one_patient_notes(check_leaks(dataset, folds, protocol.unit == "patient", cache), patients)
    return Settled(protocol, folds, leaky, notes, patients, spots)


def make_plan(options: RunOptions) -> Plan:
    """Resolve everything that a run names, and look up which cells are done; imports no torch."""
    if not options.methods:
        raise ConfigurationError(
            f"Name the methods to run with --methods, for example qca,bleep. Known: {', '.join(method_names())}."
        )
    cache = ArrayCache()
    device = resolve_device(options.device)
    methods: dict[str, ResolvedMethod] = {}
    for text in options.methods:
        resolved = resolve_method(
            text, options.profile, options.encoder, options.weights, options.runtime, device, options.plugin
        )
        methods.setdefault(resolved.spec.label, resolved)
    if options.no_images:
        blind = [m.spec.label for m in methods.values() if m.inputs.image]
        if blind:
            raise ConfigurationError(
                f"--no-images was given, but {', '.join(blind)} reads images; leave it out, or drop the flag."
            )
    dataset = open_data(options, cache)
    settled = settle_protocol(options, dataset, cache)
    precision = choose_precision(options.precision, options.profile, device)
    methods = {
        label: resolved.stepping_for(options.runtime, device, precision, settled.folds, options.max_epochs)
        for label, resolved in methods.items()
    }
    cells = [
        plan_cell(cell_task(options, resolved, dataset, settled, fold, seed, device, cache))
        for resolved in methods.values()
        for fold in settled.folds
        for seed in (options.seeds if resolved.spec.cls.seeded else (0,))
    ]
    notes = (*refused_claims(methods.values(), options.dataset, dataset.card.reader), *left_out(), *settled.notes)
    return Plan(options, dataset, settled.protocol, tuple(methods.values()), tuple(cells), notes, cache.root)


def patch_of(options: RunOptions) -> PatchRecord:
    """The patches that image methods read in a run."""
    return PatchRecord(size=PATCH_SIZE, microns_per_pixel=options.microns_per_pixel)


def cell_task(
    options: RunOptions,
    resolved: ResolvedMethod,
    dataset: Dataset,
    settled: Settled,
    fold: Fold,
    seed: int,
    device: str,
    cache: ArrayCache,
) -> CellTask:
    patch = patch_of(options)
    precision = choose_precision(options.precision, options.profile, device)
    trained = trained_by(resolved, options, patch, precision, seed)
    identity = identity_of(trained, dataset, fold, settled.spots, options.target, settled.protocol)
    return CellTask(
        cell=canonical_hash(identity),
        identity=identity,
        method=resolved.spec.label,
        profile=options.profile,
        plugins=options.plugin,
        dataset=options.dataset,
        data_dir=options.data_dir,
        cache=cache.root,
        runs=options.out,
        protocol=settled.protocol,
        leaky=settled.leaky,
        fold=fold,
        encoder=options.encoder,
        weights=options.weights,
        runtime=options.runtime,
        patch=patch,
        seed=seed,
        select=options.select,
        max_epochs=options.max_epochs,
        device=device,
        precision=precision,
        steps=resolved.steps,
        threads=1 if options.workers or options.ray_address else available_cores(),
        keep_models=options.keep_models,
    )


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan_cell(task: CellTask) -> PlannedCell:
    path = task.folder / "record.json"
    if path.is_file():
        record = read_record(path)
        if record.cell == task.cell and record.status == "done":
            return PlannedCell(task, "cached", "done", record)
        if record.cell == task.cell:
            message = record.failure.message if record.failure else "failed"
            return PlannedCell(task, "failed", f"failed before: {message}", record)
    return PlannedCell(task, "to do", _why(task))


def _why(task: CellTask) -> str:
    """Why a cell must run: it is new, or what changed since the last one of the same method, fold and seed."""
    # Other sections, patients, data or rules have a folder of their own, so those of the same name are looked through too.
    folder, name = glob.escape(task.protocol.folder.rpartition("-")[0]), glob.escape(task.start)
    newest: Record | None = None
    for path in task.runs.glob(f"{folder}-*/{name}-*/record.json"):
        record = read_record(path)
        same = (record.method.label, record.fold.name) == (task.method, task.fold.name)
        same = (
            same and (record.tuned is None) == (task.tuned is None) and record.protocol.images == task.protocol.images
        )
        if same and (newest is None or record.started > newest.started):
            newest = record
    if newest is None:
        return "new"
    if "rules" not in newest.identity:
        return "the last one was made by an older qbench, which did not hold all that decides its number"
    changed = differences(newest.identity, task.identity)
    return f"changed: {'; '.join(changed)}" if changed else "new"

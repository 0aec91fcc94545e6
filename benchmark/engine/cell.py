"""One cell, start to finish: open the fold, fit, predict the sealed test sections, score, store."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.cohort import Cohort, MeasuredSection, SealedSection
from ...datasets.folds import Part
from ...datasets.gene_names import check_gene_names
from ...datasets.leaks import check_leaks, check_panel
from ...datasets.panel import GenePanel
from ...datasets.registry import Dataset, open_dataset
from ...datasets.section import Section
from ...datasets.target import clamp, target_values
from ...errors import IntegrityError, MethodError, QbenchError
from ...leaderboard.record import Failure, Record
from ...methods.controls.oracles import Oracle
from ...methods.method import FitContext, Method
from ..scoring.plugin_metrics import metrics_of
from .describe import base_record
from .identity import contents_of, fold_identity, read_spots
from .inputs import PreparedInputs, prepare
from .panels import open_panel
from .pictures import add_pictures
from .resolve import ResolvedMethod, resolve_method
from .result import CellResult, SectionResult
from .store import failure, work_directory, write_cell
from .task import CellTask

Event = Callable[[str, Mapping[str, Any]], None]


def run_cell(task: CellTask, event: Event | None = None) -> Record:
    """Run one cell and write its folder; a method that fails gives a record that says so.

    Raises:
        QbenchError: data, configuration or integrity errors, which concern the run and not the method.
        OSError: the folder cannot be written (a full disk).
    """
    event = event or (lambda _name, _values: None)
    set_threads(task.threads)
    cache = ArrayCache(task.cache)
    dataset = open_dataset(task.dataset, task.data_dir, cache)
    sections = sorted({part.section for part in task.fold.parts})
    spots = read_spots(dataset, sections, cache)
    patients = {info.id: info.patient for info in dataset.sections}
    if fold_identity(task.fold, patients, spots) != task.identity["fold"]:
        raise IntegrityError(
            f"Fold {task.fold.name}: expected the data and patients that the run was planned with, found others here; "
            "wait until the files are complete, the same on every machine, and run again."
        )
    check_gene_names(dataset, sections, cache)
    check_leaks(dataset, [task.fold], task.protocol.unit == "patient", cache)
    panel = open_panel(dataset, task.fold, cache)
    check_panel(task.fold, panel, contents_of(spots))

    metrics = metrics_of(task.identity)
    resolved = _resolve(task)
    needs_patches = resolved.inputs.image
    inputs = prepare(dataset, sections, resolved.encoders, task.patch if needs_patches else None, cache)
    started, before = datetime.now(UTC), time.perf_counter()
    with work_directory(task.folder) as work:
        context = FitContext(
            seed=task.seed,
            device=task.device,
            precision=task.precision,
            compiled=resolved.steps == "compiled",
            threads=task.threads,
            directory=work,
            select=task.select,
            max_epochs=task.max_epochs,
            backbone=resolved.backbone_weights,
            on_epoch=lambda epoch, metrics: bool(event("epoch", {"epoch": epoch, **metrics})),
        )
        method = resolved.spec.cls(resolved.spec.parameters)
        base = base_record(task, resolved, dataset, panel, started)
        try:
            result = _fit_and_predict(task, method, dataset, panel, inputs, context, event)
        except QbenchError as error:
            if not isinstance(error, MethodError):
                raise
            record = base.model_copy(update=_failed(error, before))
            write_cell(task.folder, record, None, context.history)
            return record
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
                raise
            record = base.model_copy(update=_failed(error, before))
            write_cell(task.folder, record, None, context.history)
            return record
        event("stage", {"stage": "score"})
        result.score(dataset, panel, task.protocol.target, frozenset(dataset.card.technical_genes), metrics)
        peak = _peak_memory()  # before any picture is made, which is no part of the method
        add_pictures(result, dataset, cache, task.protocol.images)
        record = base.model_copy(
            update={
                "status": "done",
                "method": base.method.model_copy(update={"n_parameters": method.n_parameters()}),
                "hashes": base.hashes.model_copy(update=result.hashes()),
                "scores": result.scores,
                "pooled": result.pooled,
                "export_clipped": result.clipped,
                "epochs": len(context.history),
                "selected_epoch": _selected(context),
                "fit_seconds": result.fit_seconds,
                "predict_seconds": result.predict_seconds,
                "peak_memory_mb": peak,
                "warnings": (*context.warnings, *result.warnings),
            }
        )
        return write_cell(task.folder, record, result, context.history, method if task.keep_models else None)


def _fit_and_predict(
    task: CellTask,
    method: Method,
    dataset: Dataset,
    panel: GenePanel,
    inputs: PreparedInputs,
    context: FitContext,
    event: Event,
) -> CellResult:
    target = task.protocol.target
    train = open_cohort(dataset, task.fold.train, panel, target, inputs)
    validation = open_cohort(dataset, task.fold.validation, panel, target, inputs)
    event("stage", {"stage": "compile, up to two minutes, and fit" if context.compiled else "fit"})
    start = time.perf_counter()
    method.fit(train, validation if len(validation) else None, context)
    fitted = time.perf_counter()
    if method.genes != panel.genes:
        raise MethodError(f"{method.name} must set self.genes to the cohort's genes in fit(), in their order.")
    event("stage", {"stage": "predict"})
    if isinstance(method, Oracle):  # marked as such in every table, and never ranked
        method.reveal(open_cohort(dataset, task.fold.test, panel, target, inputs))
    results = []
    for part in task.fold.test:
        sealed = seal(dataset.load(part.section), part, panel.genes, inputs)
        prediction = np.asarray(method.predict(sealed))
        where = f"{method.name} on section {part.section}"
        if prediction.shape != (sealed.n_spots, len(panel.genes)):
            raise MethodError(
                f"{where}: expected predictions of shape {(sealed.n_spots, len(panel.genes))} (spots, genes), "
                f"found {prediction.shape}."
            )
        results.append(SectionResult(sealed, clamp(prediction, where)))
    predicted = time.perf_counter()
    gc.collect()
    return CellResult(
        results,
        fit_seconds=fitted - start,
        predict_seconds=predicted - fitted,
        diagnostics=method.diagnostics(),
    )


def open_cohort(
    dataset: Dataset,
    parts: tuple[Part, ...],
    panel: GenePanel,
    target: Literal["counts", "proportion"],
    inputs: PreparedInputs,
) -> Cohort:
    """The measured sections of one side of a fold; their targets are parts of one array."""
    read: deque[tuple[SealedSection, NDArray[np.float32], NDArray[np.int64]]] = deque()
    for part in parts:
        section = dataset.load(part.section)
        view = seal(section, part, panel.genes, inputs)
        rows = slice(None) if view.rows is None else view.rows
        read.append((view, target_values(section, panel.genes, target)[rows], section.library_size[rows]))
    joint = np.empty((sum(view.n_spots for view, _, _ in read), len(panel.genes)), dtype=np.float32)
    sections, start = [], 0
    while read:  # each section's own array goes once it is copied
        view, values, depth = read.popleft()
        own = joint[start : start + view.n_spots]
        own[:] = values
        start += view.n_spots
        known = {name: getattr(view, name) for name in SealedSection.__dataclass_fields__}
        sections.append(MeasuredSection(**known, target=own, library_size=depth))
    return Cohort(tuple(sections), panel.genes)


def seal(section: Section, part: Part, genes: tuple[str, ...], inputs: PreparedInputs) -> SealedSection:
    """What may be seen of a section whose expression is to be predicted: nothing of its counts, no other section's inputs."""
    rows = part.rows(section.array_xy)

    def take(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else np.array(values if rows is None else values[rows])

    kept = range(section.n_spots) if rows is None else rows.tolist()
    array_xy = take(section.array_xy)
    assert array_xy is not None
    return SealedSection(
        id=section.id,
        patient=section.patient,
        genes=genes,
        spots=tuple(section.spots[i] for i in kept),
        array_xy=array_xy,
        pixel_xy=take(section.pixel_xy),
        microns_per_pixel=section.microns_per_pixel,
        labels=None if section.labels is None else tuple(section.labels[i] for i in kept),
        store=inputs.only(section.id),
        rows=rows,
    )


def record_crash(task: CellTask, failure: Failure) -> Record:
    """The failed record of a cell whose process died before it could write one."""
    cache = ArrayCache(task.cache)
    dataset = open_dataset(task.dataset, task.data_dir, cache)
    resolved = _resolve(task)
    base = base_record(task, resolved, dataset, open_panel(dataset, task.fold, cache), datetime.now(UTC))
    return write_cell(task.folder, base.model_copy(update={"failure": failure}), None, [])


def _resolve(task: CellTask) -> ResolvedMethod:
    """The cell's method, as the plan resolved it."""
    resolved = resolve_method(
        task.method, task.profile, task.encoder, task.weights, task.runtime, task.device, task.plugins
    )
    return resolved.stepping(task.steps)


def _failed(error: BaseException, before: float) -> dict[str, Any]:
    return {
        "status": "failed",
        "failure": failure(error, traceback.extract_tb(error.__traceback__)),
        "fit_seconds": time.perf_counter() - before,
        "peak_memory_mb": _peak_memory(),
    }


def _selected(context: FitContext) -> int | None:
    """The epoch whose weights were kept: the best on validation, by the metric that selected."""
    key = "validation_mse" if context.select == "mse" else "validation_pcc"
    seen = [(epoch[key], epoch["epoch"]) for epoch in context.history if key in epoch]
    if not seen:
        return None
    return int((min if context.select == "mse" else max)(seen, key=lambda pair: pair[0])[1])


def _peak_memory() -> float:
    """Largest resident size of this process so far, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def set_threads(threads: int) -> None:
    """The number of CPU threads decides summation order, so it is fixed for a cell."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)

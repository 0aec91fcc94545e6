"""One cell, start to finish: open the fold, fit, predict the sealed test sections, score, store."""

from __future__ import annotations

import gc
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ...datasets.cache import ArrayCache
from ...datasets.gene_names import check_gene_names
from ...datasets.leaks import check_leaks, check_panel
from ...datasets.panel import GenePanel
from ...datasets.registry import Dataset
from ...errors import IntegrityError, MethodError, QbenchError
from ...leaderboard.record import Failure, Record
from ...methods.controls.oracles import Oracle
from ...methods.machine import EXACT
from ...methods.method import FitContext, Method
from ..scoring.plugin_metrics import metrics_of
from .cohorts import open_cohort, seal
from .describe import base_record
from .fit_predict import fit, predict, set_threads
from .identity import contents_of, fold_identity, read_spots
from .inputs import PreparedInputs, prepare
from .panels import open_panel
from .pictures import add_pictures
from .resolve import ResolvedMethod, resolve_method
from .result import CellResult, predicted
from .settle import open_data
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
    dataset = open_data(task.settings, cache)
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
    panel = open_panel(dataset, task.fold, cache, task.protocol.genes)
    check_panel(task.fold, panel, contents_of(spots), task.protocol.genes)

    metrics = metrics_of(task.identity)
    resolved = _resolve(task)
    needs_patches = resolved.inputs.image
    views = {"": resolved.inputs.views}
    patch = task.patch if needs_patches else None
    reads = resolved.inputs
    inputs = prepare(
        dataset, sections, resolved.encoders, patch, cache, None, views, reads.pixels, [reads.surroundings]
    )
    started, before = datetime.now(UTC), time.perf_counter()
    with work_directory(task.folder) as work:
        context = FitContext(
            seed=task.seed,
            device=task.device,
            precision=task.precision,
            compiled=resolved.steps == "compiled",
            evaluation=resolved.evaluation,
            threads=task.threads,
            directory=work,
            select=task.settings.select,
            max_epochs=task.settings.max_epochs,
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
            record = base.model_copy(update=_failed(error, before, task.device))
            write_cell(task.folder, record, None, context.history)
            return record
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
                raise
            record = base.model_copy(update=_failed(error, before, task.device))
            write_cell(task.folder, record, None, context.history)
            return record
        event("stage", {"stage": "score"})
        result.score(dataset.load, panel, task.protocol.target, frozenset(dataset.card.technical_genes), metrics)
        peak = _peaks(task.device)  # before any picture is made, which is no part of the method
        add_pictures(result, dataset, cache, task.protocol.images)
        record = base.model_copy(
            update={
                "status": "done",
                "method": base.method.model_copy(update={"n_parameters": method.n_parameters()}),
                "hashes": base.hashes.model_copy(update=result.hashes()),
                "scores": result.scores,
                "pooled": result.pooled,
                "whole": result.whole,
                "export_clipped": result.clipped,
                "epochs": len(context.history),
                "selected_epoch": _selected(context),
                "fit_seconds": result.fit_seconds,
                "predict_seconds": result.predict_seconds,
                **peak,
                "warnings": (*context.warnings, *result.warnings),
            }
        )
        return write_cell(task.folder, record, result, context.history, method if task.settings.keep_models else None)


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
    fit(method, train, validation, context)
    fitted = time.perf_counter()
    event("stage", {"stage": "predict"})
    if isinstance(method, Oracle):  # marked as such in every table, and never ranked
        method.reveal(open_cohort(dataset, task.fold.test, panel, target, inputs))
    results = []
    for part in task.fold.test:
        sealed = seal(dataset.load(part.section), part, panel.genes, inputs)
        results.append(predicted(sealed, partial(predict, method, sealed), task.protocol.genes is not None))
    ended = time.perf_counter()
    gc.collect()
    return CellResult(
        results,
        fit_seconds=fitted - start,
        predict_seconds=ended - fitted,
        diagnostics=method.diagnostics(),
    )


def record_crash(task: CellTask, failure: Failure) -> Record:
    """The failed record of a cell whose process died before it could write one."""
    cache = ArrayCache(task.cache)
    dataset = open_data(task.settings, cache)
    resolved = _resolve(task)
    panel = open_panel(dataset, task.fold, cache, task.protocol.genes)
    base = base_record(task, resolved, dataset, panel, datetime.now(UTC))
    return write_cell(task.folder, base.model_copy(update={"failure": failure}), None, [])


def _resolve(task: CellTask) -> ResolvedMethod:
    """The cell's method, as the plan resolved it."""
    resolved = resolve_method(task.method, task.settings, task.device).stepping(task.steps)
    return replace(resolved, evaluation=(task.identity["backbone"] or {}).get("evaluation", EXACT))


def _failed(error: BaseException, before: float, device: str) -> dict[str, Any]:
    return {
        "status": "failed",
        "failure": failure(error, traceback.extract_tb(error.__traceback__)),
        "fit_seconds": time.perf_counter() - before,
        **_peaks(device),
    }


def _selected(context: FitContext) -> int | None:
    """The epoch whose weights were kept: the best on validation, by the metric that selected."""
    key = "validation_mse" if context.select == "mse" else "validation_pcc"
    seen = [(epoch[key], epoch["epoch"]) for epoch in context.history if key in epoch]
    if not seen:
        return None
    return int((min if context.select == "mse" else max)(seen, key=lambda pair: pair[0])[1])


def _peaks(device: str) -> dict[str, float | None]:
    """Largest resident size of this process so far, and what its tensors took of a GPU at most, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts bytes, Linux kilobytes
    on_device = None
    if device.startswith("cuda"):
        import torch

        on_device = torch.cuda.max_memory_allocated() / 1e6
    return {
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        "peak_device_memory_mb": on_device,
    }

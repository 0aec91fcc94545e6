"""`qbench score`: predictions made elsewhere, under the same folds, panels and scores; their rows are marked external."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold
from ...datasets.gene_names import missing_notes
from ...datasets.hashing import canonical_hash
from ...datasets.leaks import check_panel
from ...datasets.panel import GenePanel
from ...datasets.registry import Dataset
from ...datasets.target import TargetName
from ...errors import ConfigurationError, DataError, unknown
from ...files import plain_sha256
from ...leaderboard.record import MethodRecord, PatchRecord, Record
from ...methods.registry import names as method_names
from ...names import check_name
from ..engine.cohorts import seal
from ..engine.describe import method_record
from ..engine.fit_predict import check_prediction
from ..engine.identity import contents_of, identity_of, predicted_by
from ..engine.inputs import PreparedInputs
from ..engine.panels import open_panel
from ..engine.pictures import add_pictures
from ..engine.plan import PATCH_SIZE, Ground
from ..engine.result import CellResult, predicted
from ..engine.run import genes_missing
from ..engine.settle import open_data, settle_protocol
from ..engine.store import write_cell
from ..engine.task import CellTask
from ..scoring.plugin_metrics import left_out, metrics_of
from ..settings import RunSettings
from .table import ExternalSection, read_predictions

Scale = Literal["log1p", "counts", "proportion"]
SCALES: tuple[Scale, ...] = ("log1p", "counts", "proportion")
LARGEST = 20.0  # log1p of half a thousand million counts: more cannot be meant


@dataclass(frozen=True)
class _Given:
    """Predictions from elsewhere: the name of their row, the scale of their numbers, and the sha256 of their file."""

    name: str
    scale: Scale
    digest: str


def score_predictions(path: Path, name: str, scale: str, options: RunSettings) -> tuple[list[Record], list[str]]:
    """Score a file of predictions on every fold of the protocol and write its cells; returns records and notes.

    Args:
        path: `.h5ad`, `.csv`, `.csv.gz`, `.tsv` or `.parquet`, see `read_predictions`.
        name: of the row in the leaderboard.
        scale: of the numbers: `log1p` (already in the target's space), `counts`, or `proportion` (per 10,000).
        options: dataset, protocol, target, sections and `out`, as of a run.

    Raises:
        ConfigurationError: a name that is taken, or a scale that cannot be turned into the target.
        DataError: predictions that are missing, named one by one.
        IntegrityError: see `settle_protocol`.
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    check_name("predictions (--name)", name)
    if name in method_names():
        raise ConfigurationError(
            f"The name '{name}' is a method of qbench; give your predictions a --name of their own."
        )
    if scale != "log1p" and scale != {"counts": "counts", "proportion": "proportion"}[options.target]:
        raise ConfigurationError(
            f"Predictions as {scale} cannot be turned into the target {options.target} without the library sizes; use "
            f"--target {'proportion' if scale == 'proportion' else 'counts'}."
        )
    found = read_predictions(path)
    cache = ArrayCache()
    dataset = open_data(options, cache)
    settled = settle_protocol(options, dataset, cache)
    tested = [part.section for fold in settled.folds for part in fold.test]
    absent = [section for section in tested if section not in found]
    if absent:
        raise DataError(
            f"{path}: no predictions of the test sections {', '.join(absent)}; add them, or score fewer with --sections."
        )
    notes = [*left_out(), *settled.notes]
    foreign = sorted(set(found) - set(tested))
    if foreign:
        notes.append(f"Not part of the protocol, left out: {', '.join(foreign)}.")
    given = _Given(name, scale, plain_sha256(path))
    ground = Ground(options, dataset, settled, "cpu", "fp32", cache)
    genes = settled.protocol.genes
    folds = [(fold, open_panel(dataset, fold, cache, genes)) for fold in settled.folds]
    cells = [(fold, panel, _matrices(found, dataset, fold, panel, scale, path)) for fold, panel in folds]
    below = sum(int((values < 0).sum()) for _, _, parts in cells for values in parts.values())
    if below:
        notes.append(f"{below} predictions below 0 were taken for 0, as every method's are.")
    records = [_score_fold(given, ground, fold, panel, parts) for fold, panel, parts in cells]
    return records, [*notes, *missing_notes(genes_missing(records))]


def _matrices(
    found: dict[str, ExternalSection], dataset: Dataset, fold: Fold, panel: GenePanel, scale: str, path: Path
) -> dict[str, NDArray[np.float64]]:
    """By section the predictions in target space, float64 (spots, panel genes)."""
    out = {}
    for part in fold.test:
        section = dataset.load(part.section)
        rows = part.rows(section.array_xy)
        spots = section.spots if rows is None else tuple(section.spots[i] for i in rows)
        where = f"{path.name}, section {part.section}"
        values = found[part.section].matrix(spots, panel.genes, where)
        if not np.isfinite(values).all():
            raise DataError(f"{where}: expected finite predictions, found infinite ones; mend them.")
        if scale == "log1p" and values.max(initial=0) > LARGEST:
            raise DataError(
                f"{where}: expected log1p values, found {values.max():.4g}, which no log1p is; say what they are with "
                "--scale counts or --scale proportion."
            )
        out[part.section] = values if scale == "log1p" else np.sign(values) * np.log1p(np.abs(values))
    return out


def _score_fold(
    given: _Given, ground: Ground, fold: Fold, panel: GenePanel, parts: dict[str, NDArray[np.float64]]
) -> Record:
    dataset, settled = ground.dataset, ground.settled
    check_panel(fold, panel, contents_of(settled.spots), settled.protocol.genes)
    task = _task(given, ground, fold)
    method = MethodRecord(
        name=given.name,
        label=given.name,
        version=1,
        kind="external",
        profile=ground.options.profile,
        parameters={"scale": given.scale, "file": given.digest},
        settings={},
        origin="external",
    )
    started = datetime.now(UTC)
    sealed = [seal(dataset.load(part.section), part, panel.genes, PreparedInputs()) for part in fold.test]
    result = CellResult(
        [
            predicted(
                s,
                partial(check_prediction, parts[s.id], s, f"{given.name} on section {s.id}"),
                settled.protocol.genes is not None,
            )
            for s in sealed
        ],
        fit_seconds=0.0,
        predict_seconds=0.0,
        diagnostics={},
    )
    target: TargetName = settled.protocol.target
    result.score(dataset.load, panel, target, frozenset(dataset.card.technical_genes), metrics_of(task.identity))
    add_pictures(result, dataset, ground.cache, settled.protocol.images)
    base = method_record(task, method, dataset, panel, started)
    record = base.model_copy(
        update={
            "status": "done",
            "hashes": base.hashes.model_copy(update=result.hashes()),
            "scores": result.scores,
            "pooled": result.pooled,
            "whole": result.whole,
            "export_clipped": result.clipped,
            "warnings": tuple(result.warnings),
        }
    )
    return write_cell(task.folder, record, result, [])


def _task(given: _Given, ground: Ground, fold: Fold) -> CellTask:
    options, settled = ground.options, ground.settled
    by = predicted_by(given.name, given.digest, given.scale, options.profile)
    identity = identity_of(by, ground.dataset, fold, settled.spots, options.target, settled.protocol)
    return CellTask(
        cell=canonical_hash(identity),
        identity=identity,
        method=given.name,
        settings=options.model_copy(update={"max_epochs": None}),
        cache=ground.cache.root,
        protocol=settled.protocol,
        leaky=settled.leaky,
        fold=fold,
        patch=PatchRecord(size=PATCH_SIZE),
        seed=0,
        device=ground.device,
        precision=ground.precision,
        threads=1,
    )

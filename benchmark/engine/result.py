"""What a cell produced: predictions of the sealed sections, and their scores once the truth is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import SealedSection
from ...datasets.panel import GenePanel
from ...datasets.target import Counted, TargetName, integer_counts, target_values
from ..scoring.metrics import chosen_on_test, figures, gene_scores, hest_figure, pooled_figures
from ..scoring.plugin_metrics import Metric, plugged_scores


@dataclass(frozen=True)
class Picture:
    """An image made small: RGB uint8 (height, width, 3), `factor` image pixels a picture pixel."""

    pixels: NDArray[np.uint8]
    factor: float


@dataclass
class SectionResult:
    """A predicted section: float32 (spots, genes) in target space, clamped at 0, unrounded; its truth comes after.

    `spot_diameter` in image pixels and `picture` are for those who draw it, None where they are not known. `unclamped` is the
    prediction as the method gave it, kept where a benchmark's own figure is made of it.
    """

    section: SealedSection
    prediction: NDArray[np.float32]
    truth: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    library_size: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    spot_diameter: float | None = None
    picture: Picture | None = None
    unclamped: NDArray[np.float32] | None = None


def predicted(sealed: SealedSection, predict: Callable[..., NDArray[np.float32]], unclamped: bool) -> SectionResult:
    """A section as `predict(clamped=...)` predicts it; with `unclamped` what the clamp at 0 takes away is kept beside."""
    values = predict(clamped=not unclamped)
    return (
        SectionResult(sealed, np.maximum(values, 0), unclamped=values) if unclamped else SectionResult(sealed, values)
    )


@dataclass
class CellResult:
    """What a cell produced; `score` fills in the rest once every section is predicted."""

    sections: list[SectionResult]
    fit_seconds: float
    predict_seconds: float
    diagnostics: dict[str, NDArray[Any]]
    table: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    pooled: dict[str, dict[str, float | None]] = field(default_factory=dict)
    whole: dict[str, float | None] = field(default_factory=dict)
    clipped: int = 0
    warnings: list[str] = field(default_factory=list)
    target: TargetName = "counts"

    def score(
        self,
        truth: Callable[[str], Counted],
        panel: GenePanel,
        target: TargetName,
        technical: frozenset[str],
        metrics: tuple[Metric, ...] = (),
    ) -> None:
        """Score the predictions, per section and pooled per patient; `truth` gives a test section's counts by its name.

        A metric of another package that fails leaves its figures empty and a sentence in `warnings`.
        """
        self.target = target
        for result in self.sections:
            section = truth(result.section.id)
            result.truth = target_values(section, panel.genes, target)
            result.library_size = section.library_size
            if result.section.rows is not None:
                result.truth = result.truth[result.section.rows]
                result.library_size = result.library_size[result.section.rows]
            values = gene_scores(result.truth, result.prediction, target, result.library_size)
            more, failures = plugged_scores(metrics, result.truth, result.prediction, f"section {result.section.id}")
            values |= more
            self.warnings += failures
            tested = slice(None) if result.section.rows is None else result.section.rows
            log_counts = np.log1p(section.columns(panel.genes)[tested].astype(np.float64))
            hvg, heg = chosen_on_test(log_counts, panel.ranked)
            self.scores[result.section.id] = {
                **figures(values, panel, technical, hvg, heg),
                "n_spots": float(result.section.n_spots),
            }
            if target == "counts":
                self.clipped += integer_counts(result.prediction)[1]
            self._add_rows(
                "section", result.section.id, result.section.patient, values, panel, len(result.truth), hvg, heg
            )
        for patient in sorted({result.section.patient for result in self.sections}):
            own = [result for result in self.sections if result.section.patient == patient]
            known = np.concatenate([r.truth for r in own])
            prediction = np.concatenate([r.prediction for r in own])
            values = gene_scores(known, prediction, target, np.concatenate([r.library_size for r in own]))
            more, failures = plugged_scores(metrics, known, prediction, f"the pooled spots of patient {patient}")
            values |= more
            self.warnings += failures
            self.pooled[patient] = pooled_figures(values, panel)
            none = np.zeros(len(panel.genes), dtype=bool)
            self._add_rows("patient", None, patient, values, panel, sum(len(r.truth) for r in own), none, none)
        raw = [result.unclamped for result in self.sections if result.unclamped is not None]
        if raw and len(raw) == len(self.sections):
            truths = np.concatenate([result.truth for result in self.sections])
            self.whole["hest"] = hest_figure(truths, np.concatenate(raw))

    def _add_rows(
        self,
        level: str,
        section: str | None,
        patient: str,
        values: dict[str, NDArray[Any]],
        panel: GenePanel,
        n_spots: int,
        hvg: NDArray[np.bool_],
        heg: NDArray[np.bool_],
    ) -> None:
        n = len(panel.genes)
        rows: dict[str, NDArray[Any]] = {
            "level": np.full(n, level, dtype=object),
            "section": np.full(n, section, dtype=object),
            "patient": np.full(n, patient, dtype=object),
            "gene": np.array(panel.genes, dtype=object),
            "n_spots": np.full(n, n_spots),
            **values,
            "rank": np.arange(n),
            "all": panel.ranked,
            "hvg": panel.mask(panel.hvg),
            "heg": panel.mask(panel.heg),
            "mg": panel.mask(panel.mg),
            "hvg_test": hvg,
            "heg_test": heg,
        }
        for name, column in rows.items():
            self.table.setdefault(name, []).append(column)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of `scores.parquet`."""
        return {name: np.concatenate(parts) for name, parts in self.table.items()}

    def hashes(self) -> dict[str, str]:
        """sha256 of the predictions (sections, spots, panel, float32 values) and of the scores."""
        predictions = hashlib.sha256()
        for result in self.sections:
            names = (result.section.id, *result.section.spots, *result.section.genes)
            predictions.update("\x1f".join(names).encode())
            predictions.update(np.ascontiguousarray(result.prediction).data)
        return {"predictions": predictions.hexdigest(), "scores": hash_scores(self.columns())}


def hash_scores(columns: dict[str, NDArray[Any]]) -> str:
    """sha256 over the columns of a score table, by name, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        values = columns[name]
        digest.update(name.encode())
        if values.dtype == object:
            digest.update("\x1f".join("" if v is None else str(v) for v in values).encode())
        else:
            kind: Any = np.float64 if values.dtype.kind == "f" else values.dtype
            digest.update(np.ascontiguousarray(values, dtype=kind).data)
    return digest.hexdigest()

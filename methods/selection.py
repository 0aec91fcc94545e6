"""The figures by which models are selected on a validation cohort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..datasets.cohort import Cohort

if TYPE_CHECKING:
    from .method import FitContext

Value = TypeVar("Value", int, float)


def validation_scores(prediction: NDArray[Any], target: NDArray[Any], boundaries: NDArray[np.intp]) -> dict[str, float]:
    """MSE over spots and genes, and the mean over genes, then sections, of the Pearson correlation inside a section.

    Args:
        prediction: (N, genes), target space (log1p), unrounded.
        target: (N, genes).
        boundaries: (sections + 1,), where each section's rows start, and N.

    A gene that is constant on either side (sd <= 1e-6 * (1 + |mean|)) counts 0, as in the scores.
    """
    predicted, truth = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    per_section = []
    for start, stop in pairwise(boundaries):
        p, t = predicted[start:stop], truth[start:stop]
        p_mean, t_mean = p.mean(axis=0), t.mean(axis=0)
        p_sd, t_sd = p.std(axis=0), t.std(axis=0)
        defined = (p_sd > 1e-6 * (1 + np.abs(p_mean))) & (t_sd > 1e-6 * (1 + np.abs(t_mean)))
        product = ((p - p_mean) * (t - t_mean)).mean(axis=0)
        per_section.append(np.where(defined, product / np.where(defined, p_sd * t_sd, 1.0), 0.0).mean())
    return {
        "validation_mse": float(np.mean((predicted - truth) ** 2)),
        "validation_pcc": float(np.mean(per_section)),
    }


def best_candidate(
    name: str,
    candidates: Sequence[Value],
    predict: Callable[[Value], NDArray[Any]],
    validation: Cohort,
    context: FitContext,
) -> Value:
    """The value of a parameter whose predictions are best on validation, the first of equals; it is reported as epoch 0.

    Args:
        name: of the parameter.
        candidates: numbers to try.
        predict: from a candidate to (N, genes) on the validation spots, target space, unrounded.
        validation: the cohort that is predicted.
        context: says what selection minimises, and takes the report.
    """
    scores = [validation_scores(predict(value), validation.target, validation.boundaries) for value in candidates]
    figures = [to_minimise(one, context.select) for one in scores]
    best = figures.index(min(figures))
    context.report(0, {name: float(candidates[best]), **scores[best]})
    return candidates[best]


def to_minimise(scores: dict[str, float], select: str) -> float:
    """What selection minimises: the validation MSE, or the negative of the validation PCC."""
    return -scores["validation_pcc"] if select == "pcc" else scores["validation_mse"]

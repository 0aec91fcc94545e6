"""The one way by which a method is fitted and asked to predict, with all that it owes its caller checked."""

from __future__ import annotations

import os
import sys

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort, MeasuredSection, SealedSection
from ...datasets.target import clamp, finite
from ...errors import MethodError
from ...methods.memory import memory_named
from ...methods.method import FitContext, Method

NO_ROOM = "run fewer cells at once (--workers), use --device cpu, or choose smaller settings"


def fit(method: Method, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
    """Fit; a validation side without spots is none.

    Raises:
        MethodError: too little memory, or the method did not take the cohort's genes as its own, in their order.
    """
    with memory_named(NO_ROOM, f"What {method.name} learns from"):
        method.fit(train, validation if validation is not None and len(validation) else None, context)
    if method.genes != train.genes:
        raise MethodError(f"{method.name} must set self.genes = train.genes in fit(): the same genes, in their order.")


def predict(method: Method, section: SealedSection, clamped: bool = True) -> NDArray[np.float32]:
    """Float32 (spots, genes) in target space, unrounded; of a measured section the method sees no target.

    Args:
        method: fitted.
        section: sealed, or measured; then it is sealed first.
        clamped: not below 0, as predictions are scored and stored; selection judges what the method says itself.

    Raises:
        MethodError: too little memory, another shape, or values that are not finite.
    """
    sealed = section.sealed() if isinstance(section, MeasuredSection) else section
    with memory_named(NO_ROOM, f"Section {section.id}, which {method.name} predicts,"):
        predicted = method.predict(sealed)
    return check_prediction(predicted, sealed, f"{method.name} on section {section.id}", clamped)


def predict_fine(method: Method, section: SealedSection, clamped: bool = True) -> NDArray[np.float32]:
    """As `predict`, of points that lie closer than spots."""
    where = f"{method.name} on points of {section.id}"
    return check_prediction(method.predict_fine(section), section, where, clamped)


def check_prediction(
    values: NDArray[np.floating], section: SealedSection, where: str, clamped: bool = True
) -> NDArray[np.float32]:
    """What `predict` asks of a prediction of a section, and gives."""
    values, due = np.asarray(values), (section.n_spots, len(section.genes))
    if values.shape != due:
        raise MethodError(
            f"{where}: expected predictions of shape {due} (spots, genes), found {values.shape}; give a row a spot and a "
            "column a gene of the panel."
        )
    return clamp(values, where) if clamped else finite(values, where)


def set_threads(threads: int) -> None:
    """The number of CPU threads decides summation order, so it is fixed for a cell."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)

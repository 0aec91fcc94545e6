"""The training mean of each gene."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..method import FitContext, Inputs, Method


class Mean(Method):
    """Predicts each gene's mean over the training spots for every spot: what no information at all scores."""

    name = "mean"
    kind = "control"
    seeded = False

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs()

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.genes = train.genes
        self._mean: NDArray[np.float32] = train.target.mean(axis=0, dtype=np.float64).astype(np.float32)

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return np.repeat(self._mean[None], section.n_spots, axis=0)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {"mean": self._mean}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._mean = state["mean"]

    @override
    def n_parameters(self) -> int:
        return self._mean.size

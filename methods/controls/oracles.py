"""Oracles: shown the test counts on purpose, to say how much of a figure needs no image. Marked, and never ranked."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..method import FitContext, Inputs, Method


class Oracle(Method):
    """A predictor that is given the measured test sections before it predicts them; only the harness calls `reveal`."""

    kind = "oracle"
    seeded = False

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs()

    @abstractmethod
    def reveal(self, test: Cohort) -> None:
        """Take what the oracle may know of the test sections, with their targets and library sizes."""


class Depth(Oracle):
    """Each gene as a line in log1p(library size), fitted on the training spots and given the test spots' library sizes."""

    name = "depth"

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.genes = train.genes
        depth = np.log1p(train.library_size.astype(np.float64))
        self._centre = np.array([depth.mean()])
        centred = depth - self._centre
        target = train.target.astype(np.float64)
        self._intercept: NDArray[np.float64] = target.mean(axis=0)
        self._slope: NDArray[np.float64] = centred @ (target - self._intercept) / max(float(centred @ centred), 1e-12)
        self._known: dict[str, NDArray[np.int64]] = {}

    @override
    def reveal(self, test: Cohort) -> None:
        self._known = {s.id: s.library_size for s in test.sections if s.library_size is not None}

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        depth = np.log1p(self._known[section.id].astype(np.float64)) - self._centre
        return (np.outer(depth, self._slope) + self._intercept).astype(np.float32)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {"centre": self._centre, "intercept": self._intercept, "slope": self._slope}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._centre, self._intercept, self._slope = state["centre"], state["intercept"], state["slope"]
        self._known = {}

    @override
    def n_parameters(self) -> int:
        return 2 * self._slope.size


class PatientMean(Oracle):
    """The mean of each gene over the test patient's own spots: the floor of MSE for a constant; its PCC is 0."""

    name = "patient-mean"

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.genes = train.genes
        self._means: dict[str, NDArray[np.float32]] = {}

    @override
    def reveal(self, test: Cohort) -> None:
        patients = test.patients
        self._means = {
            str(patient): test.target[patients == patient].mean(axis=0, dtype=np.float64).astype(np.float32)
            for patient in np.unique(patients)
        }

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return np.repeat(self._means[section.patient][None], section.n_spots, axis=0)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "genes": np.zeros(len(self.genes), dtype=np.float32)
        }  # it learns nothing: the test spots are revealed anew

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._means = {}

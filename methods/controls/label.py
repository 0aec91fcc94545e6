"""The mean of each pathologist's label over the training spots: what a drawing of the tissue types scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ...errors import MethodError
from ..method import FitContext, Inputs, Method


class Label(Method):
    """Predicts a spot by the mean of its label's training spots; by the training mean where it, or its label, is unknown.

    A section without any labels is thus predicted by a constant, and its genes count as undefined predictions.
    """

    name = "label"
    kind = "control"
    seeded = False

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(labels=True)

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.genes = train.genes
        labels = np.concatenate([_labels(section) for section in train.sections])
        self._names = [str(name) for name in np.unique(labels[labels != ""])]
        if not self._names:
            raise MethodError(
                "label needs pathologist's labels on the training side, found none; add them (ST-pat/lbl for her2st), "
                "or leave the method out."
            )
        known = [train.target[labels == name].mean(axis=0, dtype=np.float64) for name in self._names]
        self._means = np.stack([train.target.mean(axis=0, dtype=np.float64), *known]).astype(np.float32)
        unlabelled = [section.id for section in train.sections if section.labels is None]
        if unlabelled:
            context.warn(
                f"label learned from {len(train.sections) - len(unlabelled)} of {len(train.sections)} training sections."
            )

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        row = {name: i for i, name in enumerate(self._names, start=1)}
        names, which = np.unique(_labels(section), return_inverse=True)
        return np.asarray(self._means[np.array([row.get(str(name), 0) for name in names])[which]])

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        names = np.frombuffer("\n".join(self._names).encode(), dtype=np.uint8)
        return {"means": self._means, "names": names}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._means = state["means"]
        self._names = state["names"].tobytes().decode().split("\n")

    @override
    def n_parameters(self) -> int:
        return self._means.size


def _labels(section: SealedSection) -> NDArray[np.str_]:
    return np.array([""] * section.n_spots if section.labels is None else section.labels, dtype=np.str_)

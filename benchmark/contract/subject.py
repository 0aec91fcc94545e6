"""The method under test, with what later promises take from earlier ones."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort
from ...methods.method import FitContext, Inputs, Method
from ...methods.registry import MethodSpec
from ..engine.fit_predict import fit
from .tiny import TinyData, make_tiny

EPOCHS = 12
CLOSE = 2e-4  # predictions that may differ by summation order alone


class Broken(Exception):
    """What was found, and the fix."""


@dataclass
class Subject:
    """A method and its tiny data.

    Attributes:
        method, context: fitted on `data`, once "fit runs" is tried.
        targets: of the training side, as they were before.
        prediction: float32 (spots, genes) of the test section, once "predict" is tried.
    """

    spec: MethodSpec
    started: float = field(default_factory=time.monotonic)
    data: TinyData = field(init=False)
    targets: NDArray[np.float32] = field(init=False)
    method: Method = field(init=False)
    context: FitContext = field(init=False)
    prediction: NDArray[np.float32] = field(init=False)

    @property
    def inputs(self) -> Inputs:
        """What the method declares to read with the parameters of its spec."""
        return self.spec.cls.inputs(self.spec.parameters)

    def make(self) -> TinyData:
        """The data, made anew: what a fit has changed in it is gone."""
        return make_tiny(self.inputs)

    def fitted(self, data: TinyData, validation: Cohort | None, seed: int = 0) -> tuple[Method, FitContext]:
        """The method, fitted afresh.

        Raises:
            MethodError: it did not take over the cohort's genes.
        """
        with tempfile.TemporaryDirectory() as folder:
            context = FitContext(
                seed=seed,
                directory=Path(folder),
                max_epochs=EPOCHS,
                backbone="random" if self.inputs.backbone is not None else None,
            )
            method = self.spec.build()
            fit(method, data.train, validation, context)
        return method, context


def gap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Largest difference, relative to the size of the values where they are above 1."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float("inf") if a.shape != b.shape else float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0.0))

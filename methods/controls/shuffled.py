"""Another method, shown the test patches in a wrong order: what is left does not come from the image of the spot."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..method import FitContext, Inputs, Method, Parameters

if TYPE_CHECKING:
    from ..registry import MethodSpec


class ShuffledParameters(Parameters):
    """Which method's predictions are shuffled."""

    method: str = Field("ridge", description="The method to fit, by name, with its fast profile.")


class Shuffled(Method):
    """Fits a method as usual, then permutes a test section's patches among its spots; coordinates stay where they are."""

    name = "shuffled"
    version = 2
    kind = "control"
    Parameters = ShuffledParameters
    parameters: ShuffledParameters

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)
        self._method = _spec(self.parameters.method).build()
        self._seed = 0

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        spec = _spec(parameters.method)
        return spec.cls.inputs(spec.parameters)

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self._method.fit(train, validation, context)
        self.genes = self._method.genes
        self._seed = context.seed

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        rng = np.random.default_rng([self._seed, zlib.crc32(section.id.encode())])
        rows = np.arange(section.n_spots) if section.rows is None else section.rows
        return self._method.predict(replace(section, rows=rng.permutation(rows)))

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {**self._method.state(), "shuffled.seed": np.array([self._seed])}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._seed = int(state["shuffled.seed"][0])
        self._method.genes = self.genes
        self._method.restore({name: values for name, values in state.items() if name != "shuffled.seed"})

    @override
    def n_parameters(self) -> int:
        return self._method.n_parameters()


def _spec(name: str) -> MethodSpec:
    from ..registry import spec  # the registry knows this module by name, so it is imported late

    return spec(name)

"""Controls that know where a spot is: position alone, and position with colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...datasets.cohort import Cohort, SealedSection
from ..method import Inputs
from ..scaling import Scaling
from .ridge import Ridge

POWERS = ((1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


class Coordinates(Ridge):
    """Ridge on the nine terms of a cubic in the array's x and y, centred in each section: what smoothness alone scores."""

    name = "coordinates"
    context = "section"  # a spot's place is relative to the section's other spots

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs()

    @override
    def read(self, source: Cohort | SealedSection) -> NDArray[np.float64]:
        return _by_section(source, cubic)


class Context(Ridge):
    """Ridge on the patch's six colour numbers and the cubic in x and y, each z-scored within its section."""

    name = "context"
    context = "section"  # z-scored over the section's spots

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("rgb",))

    @override
    def read(self, source: Cohort | SealedSection) -> NDArray[np.float64]:
        def both(section: SealedSection) -> NDArray[np.float64]:
            values = np.concatenate([np.asarray(section.features("rgb"), dtype=np.float64), cubic(section)], axis=1)
            return Scaling.fit(values).apply(values)

        return _by_section(source, both)


def cubic(section: SealedSection) -> NDArray[np.float64]:
    """The nine terms of a cubic without its constant, float64 (n, 9), of array coordinates centred in the section."""
    x, y = (section.array_xy - section.array_xy.mean(axis=0)).T
    return np.stack([x**i * y**j for i, j in POWERS], axis=1)


def _by_section(
    source: Cohort | SealedSection, values: Callable[[SealedSection], NDArray[np.float64]]
) -> NDArray[np.float64]:
    sections = source.sections if isinstance(source, Cohort) else (source,)
    return np.concatenate([values(section) for section in sections]) if sections else np.zeros((0, len(POWERS)))

"""Frozen features as a small network reads them: z-scored over the training spots, and reduced to principal components.

A method that reads dozens of views of each spot would spend most of its time on projecting them anew in every epoch; the
components are found once, on training spots alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..datasets.cohort import RowView
from .scaling import Scaling, chunks

ROWS = 128  # spots whose views are read at once
Components = Annotated[
    int,
    Field(
        ge=0, le=65_536, description="Principal components of the frozen features that are read; 0 reads the features."
    ),
]


@dataclass(frozen=True)
class Reduced:
    """z-scores, and the directions that they are reduced to: float64 (d, components), or None for the z-scores themselves."""

    scaling: Scaling
    basis: NDArray[np.float64] | None

    @classmethod
    def fit(cls, features: RowView, components: int) -> Self:
        """From the training spots' features (n, d); no reduction for 0 components, or for as many as there are features.

        The components are scaled together, so that the mean of their variances over the training spots is 1.
        """
        from scipy.linalg import eigh

        scaling = Scaling.fit(features)
        n, d = features.shape
        if not 0 < components < d:
            return cls(scaling, None)
        gram = np.zeros((d, d))
        for _, part in chunks(features):
            z = scaling.apply(part)
            gram += z.T @ z
        kept, directions = eigh(gram / n, subset_by_index=(d - components, d - 1))
        kept, directions = kept[::-1], directions[:, ::-1]
        # An eigenvector's sign is arbitrary: its largest entry is made positive, so that every machine has the same.
        directions = directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(components)])
        size = float(np.sqrt(max(kept.mean(), np.finfo(np.float64).tiny)))
        return cls(scaling, directions / (size if size > np.finfo(np.float32).eps else 1.0))

    @property
    def width(self) -> int:
        """Numbers of a spot or view that a network reads."""
        return len(self.scaling.mean) if self.basis is None else self.basis.shape[1]

    def apply(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Features (..., d) as a network reads them, float32 (..., width)."""
        z = self.scaling.apply(features).astype(np.float32)
        return z if self.basis is None else z @ self.basis.astype(np.float32)

    def read(self, features: RowView) -> NDArray[np.float32]:
        """All rows of features or views (n, ..., d), a few at a time; a missing view is 0."""
        from threadpoolctl import threadpool_limits

        out = np.empty((*features.shape[:-1], self.width), dtype=np.float32)
        with threadpool_limits(1, user_api="blas"):  # each spot's views are a product of their own, too small for more
            for start in range(0, len(features), ROWS):
                rows = slice(start, start + ROWS)
                out[rows] = np.nan_to_num(self.apply(features[rows]), copy=False, nan=0.0)
        return out

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for `Method.state`, named "features.*"."""
        basis = {} if self.basis is None else {"features.basis": self.basis}
        return {"features.mean": self.scaling.mean, "features.sd": self.scaling.sd, **basis}

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]]) -> Self:
        """The inverse of `state`; takes its arrays out of the dictionary."""
        scaling = Scaling(state.pop("features.mean"), state.pop("features.sd"))
        return cls(scaling, state.pop("features.basis", None))

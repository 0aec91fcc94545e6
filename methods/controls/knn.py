"""k nearest training spots by cosine similarity of frozen features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, RowView, SealedSection
from ..method import FitContext, Method, Parameters
from ..scaling import Scaling, chunks
from ..selection import best_candidate

NEIGHBOURS = (5, 10, 20, 50, 100, 200)
WITHOUT_VALIDATION = 50  # BLEEP's number


class KnnParameters(Parameters):
    """What the nearest neighbours leave open: how many are averaged."""

    k: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="Neighbours averaged, at most the number of training spots; 'auto' takes the best on validation of "
        "5, 10, 20, 50, 100, 200 (50 where there is no validation).",
    )


class NearestNeighbours(Method):
    """Mean expression of the k training spots whose features, z-scored over training, are nearest by cosine."""

    name = "knn"
    version = 2
    kind = "control"
    seeded = False
    Parameters = KnnParameters
    parameters: KnnParameters

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        import torch

        from ..retrieval import mean_rows, nearest

        self.genes = train.genes
        features = train.features()
        self._scaling = Scaling.fit(features)
        self._references = self._embed(features)
        self._target = np.ascontiguousarray(train.target, dtype=np.float32)
        k = self.parameters.k
        if k == "auto" and validation is None:
            k = WITHOUT_VALIDATION
        elif k == "auto":
            assert validation is not None
            queries = torch.from_numpy(self._embed(validation.features()))
            _, rows = nearest(queries, torch.from_numpy(self._references), max(NEIGHBOURS))

            def predicted(candidate: int) -> NDArray[np.float32]:
                return np.asarray(mean_rows(torch.from_numpy(self._target), rows[:, :candidate]).numpy())

            k = best_candidate("k", NEIGHBOURS, predicted, validation, context)
        self._k = min(int(k), len(self._target))

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        import torch

        from ..retrieval import mean_rows, nearest

        queries = torch.from_numpy(self._embed(section.features()))
        _, rows = nearest(queries, torch.from_numpy(self._references), self._k)
        return np.asarray(mean_rows(torch.from_numpy(self._target), rows).numpy())

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "references": self._references,
            "target": self._target,
            "k": np.array(self._k, dtype=np.int64),
            "mean": self._scaling.mean,
            "sd": self._scaling.sd,
        }

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._references, self._target = state["references"], state["target"]
        self._k = int(state["k"])
        self._scaling = Scaling(state["mean"], state["sd"])

    def _embed(self, features: RowView) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, d)."""
        out = np.empty(features.shape, dtype=np.float32)
        for place, part in chunks(features):
            z = self._scaling.apply(part)
            length = np.linalg.norm(z, axis=1, keepdims=True)
            out[place] = z / np.where(length > 0, length, 1.0)
        return out

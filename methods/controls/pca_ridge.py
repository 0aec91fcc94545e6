"""HEST-bench's probe (Jaume et al. 2024; mahmoodlab/HEST afd42c3): principal components of the features, then ridge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort
from ...errors import MethodError
from ..method import FitContext
from ..scaling import Scaling, chunks
from .ridge import Ridge, RidgeParameters

SEED = 0  # of scikit-learn's randomised SVD and of its solver, as the benchmark seeds them
ITERATIONS = 1000  # of the solver, at most; the benchmark's number


class PcaRidgeParameters(RidgeParameters):
    """What the probe leaves open: components, penalty, and whether the training mean is added."""

    components: int = Field(256, ge=1, le=65_536, description="Principal components of the z-scored features.")
    alpha: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Penalty on the squared weights; 'auto' is 100 / (components x genes), never tuned."
    )
    add_mean: bool = Field(
        True,
        description="Add the training mean to the prediction, which has no intercept. No correlation hangs on it, but "
        "the clamp at 0 would cut half of a prediction that is centred there.",
    )


class PcaRidge(Ridge):
    """StandardScaler, PCA and Ridge(lsqr, no intercept) of scikit-learn in a row, with its own tolerances and solvers.

    scikit-learn chooses the SVD by shape: exact for up to 500 rows and columns, randomised (and seeded) above, from the
    covariance for up to 1,000 features and ten times as many spots. The solver stops at its default tolerance of 1e-4.
    """

    name = "pca-ridge"
    version = 1
    Parameters = PcaRidgeParameters
    parameters: PcaRidgeParameters

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge as Regression

        p = self.parameters
        self.genes = train.genes
        features = train.features()
        n, d = features.shape
        if n < 2:
            raise MethodError(f"{self.name}: expected at least 2 training spots, found {n}; add sections.")
        count = min(p.components, n - 1, d)  # centred rows span one dimension less than there are
        if count < p.components:
            context.warn(
                f"{self.name}: {count} principal components instead of {p.components}, all that {n} training spots of "
                f"{d} features have."
            )
        self._scaling = Scaling.fit(features)
        z = np.concatenate([self._scaling.apply(part) for _, part in chunks(features)])
        pca = PCA(count, random_state=SEED)
        # Not `transform`: after a randomised SVD the two differ, and the benchmark fits on this.
        reduced = pca.fit_transform(z)
        target = train.target.astype(np.float64)
        alpha = 100 / (count * len(self.genes)) if p.alpha == "auto" else p.alpha
        ridge = Regression(alpha=alpha, solver="lsqr", fit_intercept=False, max_iter=ITERATIONS, random_state=SEED)
        weights = ridge.fit(reduced, target).coef_.reshape(len(self.genes), count)
        # The rotation and the weights are one linear map of the z-scores.
        self._weights = pca.components_.T @ weights.T
        mean = target.mean(axis=0) if p.add_mean else np.zeros(len(self.genes))
        self._intercept = mean - pca.mean_ @ self._weights
        self._components = int(count)

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "components": np.array(self._components)}

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        super().restore(state)
        self._components = int(state["components"])

    @override
    def n_parameters(self) -> int:
        """Of the regression: a weight a component and gene."""
        return self._components * len(self.genes)

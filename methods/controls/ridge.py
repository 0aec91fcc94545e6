"""Ridge regression on frozen features, in closed form, and the two controls that are ridge on poorer features."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from typing_extensions import override

from ...datasets.cohort import Cohort, RowView, SealedSection
from ..method import FitContext, Inputs, Method, Parameters
from ..scaling import Scaling, chunks
from ..selection import best_candidate

ALPHAS = tuple(float(a) for a in np.logspace(-2, 7, 19))  # half decades
WITHOUT_VALIDATION = 1e4  # the middle of what validation chooses on HER2ST for 1,280 features and some hundred spots


class RidgeParameters(Parameters):
    """What ridge leaves open: its penalty."""

    alpha: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="Penalty on the squared weights of z-scored features, beside the sum over spots of squared errors; "
        "'auto' takes the best on validation of 0.01 to 1e7 in half decades (1e4 where there is no validation).",
    )


class Ridge(Method):
    """Linear regression with a squared penalty on features z-scored over the training spots; the intercept is free.

    Minimises sum over spots |y - b - Wz|^2 + alpha |W|^2 in float64. One eigendecomposition serves all alphas: of the
    feature Gram matrix where spots outnumber features, of the spot Gram matrix otherwise. Not refitted on train and
    validation together.
    """

    name = "ridge"
    version = 2
    kind = "control"
    seeded = False
    Parameters: ClassVar[type[RidgeParameters]] = RidgeParameters
    parameters: RidgeParameters

    @override
    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.genes = train.genes
        features = self.read(train)
        self._scaling = Scaling.fit(features)
        target = train.target
        self._intercept: NDArray[np.float64] = target.mean(axis=0, dtype=np.float64)
        values, vectors, rotated = self._decompose(train)

        def weights(alpha: float) -> NDArray[np.float64]:
            return np.asarray(vectors @ (rotated * _inverse(values, alpha)[:, None]))

        alpha = self.parameters.alpha
        if alpha == "auto" and validation is None:
            alpha = WITHOUT_VALIDATION
        elif alpha == "auto":
            assert validation is not None
            z = np.concatenate([self._scaling.apply(part) @ vectors for _, part in chunks(self.read(validation))])

            def predicted(candidate: float) -> NDArray[np.float64]:
                return np.asarray(z @ (rotated * _inverse(values, candidate)[:, None]) + self._intercept)

            alpha = best_candidate("alpha", ALPHAS, predicted, validation, context)
            if alpha == ALPHAS[-1]:
                context.warn(f"{self.name}: validation prefers the largest alpha ({alpha:g}), almost the mean.")
        self._weights: NDArray[np.float64] = weights(float(alpha))

    @override
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        features = self.read(section)
        out = np.empty((len(features), len(self.genes)), dtype=np.float32)
        for place, part in chunks(features):
            out[place] = self._scaling.apply(part) @ self._weights + self._intercept
        return out

    @override
    def state(self) -> dict[str, NDArray[Any]]:
        return {
            "weights": self._weights,
            "intercept": self._intercept,
            "mean": self._scaling.mean,
            "sd": self._scaling.sd,
        }

    @override
    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        self._weights, self._intercept = state["weights"], state["intercept"]
        self._scaling = Scaling(state["mean"], state["sd"])

    @override
    def n_parameters(self) -> int:
        return self._weights.size + self._intercept.size

    def read(self, source: Cohort | SealedSection) -> RowView | NDArray[np.float64]:
        """What is regressed on, (spots, d): the features of the declared encoder."""
        return source.features(self.inputs(self.parameters).encoders[0])

    def _decompose(self, train: Cohort) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues (r,), V (d, r) and R (r, genes) such that the weights are V diag(1/(value + alpha)) R."""
        features, target = self.read(train), train.target
        n, d = features.shape
        if n > d:
            gram = np.zeros((d, d))
            product = np.zeros((d, target.shape[1]))
            for place, part in chunks(features):
                z = self._scaling.apply(part)
                gram += z.T @ z
                product += z.T @ (target[place] - self._intercept)
            values, vectors = np.linalg.eigh(gram)
            return np.maximum(values, 0.0), vectors, vectors.T @ product
        z = self._scaling.apply(np.asarray(features))
        values, vectors = np.linalg.eigh(z @ z.T)
        return np.maximum(values, 0.0), z.T @ vectors, vectors.T @ (target - self._intercept)


class Colour(Ridge):
    """Ridge on six numbers of a patch: mean and standard deviation of red, green and blue."""

    name = "colour"

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("rgb",))


class Untrained(Ridge):
    """Ridge on the run's encoder with random weights: what the architecture gives without any training."""

    name = "untrained"

    @classmethod
    @override
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("random",))


def _inverse(values: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """1 / (value + alpha), and 0 in directions that the data do not span (the least-norm solution at alpha 0)."""
    spanned = values > values.max(initial=0.0) * 1e-12
    return np.where(spanned, 1.0 / np.where(spanned, values + alpha, 1.0), 0.0)

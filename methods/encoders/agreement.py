"""How far the features of two runtimes lie apart, in what methods make of them: z-scores, and what ridge predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scaling import Scaling

LEAST_COSINE = 0.999
# Of the spread of the z-scores and of the predictions. EfficientNet-Lite0 in bf16, with its weights or random ones, has up to .16 and .11.
MOST_APART = 0.25
# Patches below which only cosines are judged: an sd over fewer than eight spots is noise of its own.
ENOUGH = 16


@dataclass(frozen=True)
class Agreement:
    """Features of a runtime beside fp32 ones, of the same patches.

    Attributes:
        cosine: mean over patches of the cosine between the two; least: the smallest.
        z: root mean square difference of the z-scores, over their sd in fp32.
        ridge: the same of ridge's predictions of the patches' colours, for the worst of the colours. Both are of every
            other patch, after scaling and ridge were fitted on the rest; 0 for fewer than `ENOUGH` patches.
    """

    cosine: float
    least: float
    z: float = 0.0
    ridge: float = 0.0

    def fault(self) -> str | None:
        """What is wrong, with the figure and its limit; None where the two agree."""
        if not self.cosine > LEAST_COSINE:
            return f"a cosine of {self.cosine:.5f} to its fp32 features, expected above {LEAST_COSINE}"
        if not self.z < MOST_APART:
            return f"z-scores {self.z:.2f} of their spread away from those in fp32, expected below {MOST_APART}"
        if not self.ridge < MOST_APART:
            return f"ridge predictions {self.ridge:.2f} of their spread away from those in fp32, expected below {MOST_APART}"
        return None


def agreement(ours: NDArray[np.float32], plain: NDArray[np.float32], colours: NDArray[np.float32]) -> Agreement:
    """Compare the features (n, d) of n patches with fp32 ones; `colours` (n, 6) is what ridge learns to predict."""
    wide, exact = ours.astype(np.float64), plain.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(exact, axis=1)
    cosines = (wide * exact).sum(axis=1) / np.maximum(norms, 1e-30)
    figures = float(cosines.mean()), float(cosines.min())
    if len(ours) < ENOUGH:
        return Agreement(*figures)
    (z, predicted), (z_exact, predicted_exact) = (_seen(features, colours) for features in (ours, plain))
    return Agreement(
        *figures, float(_apart(z, z_exact, axis=None)), float(_apart(predicted, predicted_exact, axis=0).max())
    )


def _seen(
    features: NDArray[np.float32], colours: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z-scores of the odd rows, and ridge's predictions for them, both fitted on the even rows."""
    scaling = Scaling.fit(features[::2])
    fitted, held_out = scaling.apply(features[::2]), scaling.apply(features[1::2])
    target = colours[::2].astype(np.float64)
    # As many features as the penalty: the spots' Gram matrix has about that on its diagonal.
    gram = fitted @ fitted.T + fitted.shape[1] * np.eye(len(fitted))
    weights = fitted.T @ np.linalg.solve(gram, target - target.mean(axis=0))
    return held_out, held_out @ weights


def _apart(ours: NDArray[np.float64], exact: NDArray[np.float64], axis: int | None) -> NDArray[np.float64]:
    """Root mean square difference over the sd of `exact`; 0 where the two are equal."""
    difference = np.sqrt(np.mean((ours - exact) ** 2, axis=axis))
    spread = exact.std(axis=axis)
    return np.asarray(np.where(difference > 0, difference / np.maximum(spread, 1e-30), 0.0))

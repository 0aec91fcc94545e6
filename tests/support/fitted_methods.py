"""What every trained method keeps to, whatever it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from qbench.datasets.cohort import SealedSection
from qbench.methods import registry
from qbench.methods.method import Method


def kept_prediction(fit: Callable[[int], Method], section: SealedSection, folder: Path) -> np.ndarray:
    """The prediction with seed 2: the same once saved and loaded, in training mode and fitted again; not with another seed."""
    method = fit(2)
    prediction = method.predict(section)
    assert (prediction.shape, prediction.dtype) == ((section.n_spots, len(method.genes)), np.float32)
    method.save(folder / "m")
    np.testing.assert_array_equal(registry.load_method(folder / "m").predict(section), prediction)
    method.network.train()
    np.testing.assert_array_equal(method.predict(section), prediction, err_msg="dropout is off in predict")
    np.testing.assert_array_equal(fit(2).predict(section), prediction)
    assert not np.array_equal(fit(3).predict(section), prediction)
    return prediction


def check_order(method: Method, section: SealedSection) -> None:
    """Spots in another order are predicted alike."""
    rows = np.random.default_rng(0).permutation(section.n_spots)
    shuffled = replace(section, rows=rows, array_xy=section.array_xy[rows], spots=tuple(section.spots[i] for i in rows))
    np.testing.assert_allclose(method.predict(shuffled), method.predict(section)[rows], rtol=1e-5, atol=1e-5)

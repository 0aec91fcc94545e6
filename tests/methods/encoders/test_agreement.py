"""A runtime is held against fp32 by what methods make of its features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.errors import MethodError
from qbench.methods.encoders import features, runtimes
from qbench.methods.encoders.agreement import ENOUGH, Agreement, agreement
from qbench.methods.encoders.registry import resolve
from qbench.methods.encoders.rgb import encode_rgb

TINY = "test_resnet.r160_in1k"


def made(n: int = 32, d: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """float32 features (n, d) whose first is large and nearly constant, whose next six carry the colours (n, 6)."""
    rng = np.random.default_rng(0)
    colours = rng.normal(0.5, 0.1, (n, 6))
    values = rng.normal(0, 0.1, (n, d))
    values[:, 0] = 100 + rng.normal(0, 0.1, n)
    values[:, 1:7] = colours
    return values.astype(np.float32), colours.astype(np.float32)


def test_equal_features_agree():
    values, colours = made()
    found = agreement(values, values.copy(), colours)
    assert found == Agreement(pytest.approx(1.0), pytest.approx(1.0), 0.0, 0.0)
    assert found.fault() is None


def test_z_scores_tell_what_cosines_hide():
    values, colours = made()
    other = values.copy()
    other[:, 1:] = np.random.default_rng(1).normal(0, 0.1, (32, 199))
    found = agreement(other, values, colours)
    assert found.cosine > 0.999
    assert found.z == pytest.approx(2**0.5, rel=0.1), "two independent draws of one sd"
    assert "z-scores 1." in str(found.fault())


def test_ridge_tells_when_few_features_are_off_but_those_that_matter():
    rng = np.random.default_rng(2)
    values, colours = made(64, 400)
    values[:, 7:] = 0.02 * rng.normal(size=(64, 393)) + 0.1 * rng.normal(size=(64, 1))
    other = values.copy()
    other[:, 1:7] = rng.permutation(colours)
    found = agreement(other, values, colours)
    assert found.cosine > 0.999
    assert found.z < 0.25
    assert found.ridge > 0.25
    assert "ridge predictions" in str(found.fault())


def test_z_and_ridge_are_those_of_the_patches_that_were_not_fitted_on():
    values, colours = made()
    other = values + np.random.default_rng(3).normal(0, 0.01, values.shape).astype(np.float32)
    found = agreement(other, values, colours)

    def seen(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = x.astype(np.float64)
        z = (x - x[::2].mean(0)) / x[::2].std(0)
        centred = colours[::2] - colours[::2].mean(0)
        weights = np.linalg.solve(z[::2].T @ z[::2] + 200 * np.eye(200), z[::2].T @ centred)
        return z[1::2], z[1::2] @ weights

    (z, p), (z_exact, p_exact) = seen(other), seen(values)
    assert found.z == pytest.approx(np.sqrt(((z - z_exact) ** 2).mean()) / z_exact.std(), rel=1e-4)
    expected = np.sqrt(((p - p_exact) ** 2).mean(0)) / p_exact.std(0)
    assert found.ridge == pytest.approx(expected.max(), rel=1e-4)


def test_few_patches_are_judged_by_cosines_alone():
    values, colours = made(ENOUGH - 1)
    other = values.copy()
    other[:, 1:] *= -1
    assert agreement(other, values, colours).fault() is None


def test_a_runtime_whose_z_scores_are_off_is_refused_with_the_figure(tmp_path: Path):
    rng = np.random.default_rng(0)
    patches = np.repeat(np.repeat(rng.integers(60, 250, (20, 8, 8, 3)).astype(np.uint8), 8, axis=1), 8, axis=2)
    spec = resolve(TINY, {TINY: "random"}, device="cpu", runtime="eager:bf16")
    plain = runtimes.open_runtime(resolve(TINY, {TINY: "random"}, device="cpu", runtime="eager:fp32"), 64)

    class Off:
        """fp32 features, with an error of a third of each one's sd: of little weight beside their mean."""

        dim, batch = plain.dim, plain.batch
        sd = plain.encode(patches).std(axis=0)

        def read(self, some: np.ndarray) -> np.ndarray:
            return some

        def encode(self, some: np.ndarray) -> np.ndarray:
            values = plain.encode(some)
            return (values + 0.33 * self.sd * np.sign(np.random.default_rng(1).normal(size=values.shape))).astype(
                np.float32
            )

    cache = ArrayCache(tmp_path)
    with pytest.raises(MethodError, match=r"z-scores 0\.\d+ of their spread away.*use --runtime eager:fp32"):
        features.check_against_fp32(spec, Off(), patches, cache)
    with pytest.raises(MethodError, match="z-scores"):
        features.check_against_fp32(spec, plain, patches, cache)  # remembered, not computed again
    found = features.check_against_fp32(spec, runtimes.open_runtime(spec, 64), patches, ArrayCache(tmp_path / "new"))
    assert 0 < found.z < 0.25
    assert 0 < found.ridge < 0.25
    assert encode_rgb(patches).std(axis=0).min() > 0

"""Feature scaling: what says nothing is 0, what lies far out is clipped, and rounding moves no prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from qbench.methods import registry
from qbench.methods.controls.position import Context, cubic
from qbench.methods.controls.ridge import Ridge, RidgeParameters
from qbench.methods.method import FitContext
from qbench.methods.scaling import CHUNK, CLIP, Scaling
from qbench.methods.stnet.method import channel_statistics

from ..support.method_cohorts import Store, linear_cohort, sealed

NEARLY_DEAD = 5


def as_bf16(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).bfloat16().float().numpy()


def relu_features(seed: int, n: int = 300) -> np.ndarray:
    """float32 (n, 12), sd about 1, but for a feature that is 0 in all spots save one, where it is 1.3e-4: sd 7.5e-6."""
    x = np.maximum(np.random.default_rng(seed).normal(1, 1.2, (n, 12)), 0).astype(np.float32)
    x[:, NEARLY_DEAD] = 0
    x[7, NEARLY_DEAD] = 1.3e-4
    return x


def test_a_feature_below_the_rounding_of_the_others_says_nothing():
    train = as_bf16(relu_features(0))
    new = as_bf16(relu_features(1))
    new[3, NEARLY_DEAD] = 0.15
    mean, sd = train.astype(np.float64).mean(0), train.astype(np.float64).std(0)
    assert sd[NEARLY_DEAD] == pytest.approx(7.5e-6, rel=0.01)
    assert sd[NEARLY_DEAD] > 1e-6 * (1 + abs(mean[NEARLY_DEAD])), "it is not constant by the usual rule"
    assert (new[3, NEARLY_DEAD] - mean[NEARLY_DEAD]) / sd[NEARLY_DEAD] == pytest.approx(20_000, rel=0.01)

    z = Scaling.fit(train).apply(new)
    assert not z[:, NEARLY_DEAD].any()
    others = np.arange(12) != NEARLY_DEAD
    np.testing.assert_allclose(z[:, others], ((new - mean) / sd)[:, others])


def test_rounded_features_move_ridge_no_more_than_their_rounding():
    truth = np.random.default_rng(9).normal(size=(12, 9))

    def cohort(x: np.ndarray, seed: int):
        made = linear_cohort(seed, {"A1": len(x)})
        (section,) = made.sections
        target = (x @ truth + 20).astype(np.float32)
        return type(made)(
            (type(section)(**{**vars(section), "store": Store({"A1": x}, {}), "target": target}),), made.genes
        )

    new = relu_features(1)
    new[3, NEARLY_DEAD] = 0.15  # the feature comes alive in a spot that is not in training
    predictions = []
    for rounded in (lambda x: x, as_bf16):
        method = Ridge(RidgeParameters(alpha=1.0))
        method.fit(cohort(rounded(relu_features(0)), 0), None, FitContext())
        predictions.append(method.predict(sealed(cohort(rounded(new), 1).sections[0])))
    spread = predictions[0].std(axis=0)
    assert (np.abs(predictions[1] - predictions[0]) / spread).max() < 0.02


def test_a_feature_that_is_constant_in_training_says_nothing_anywhere():
    train, new = relu_features(0), relu_features(1)
    train[:, 2], new[:, 2] = 1000.1, 999.0
    z = Scaling.fit(train).apply(new)
    assert not z[:, 2].any()
    assert z[:, 3].any()
    assert not Scaling.fit(np.full((5, 3), 7.1, np.float32)).apply(new[:, :3]).any()


def test_z_is_clipped_on_both_sides_in_training_too():
    train = np.zeros((1000, 2), np.float32)
    train[0] = 1, -1
    train[1:, 0] += np.linspace(0, 0.01, 999, dtype=np.float32)
    scaling = Scaling.fit(train)
    assert scaling.apply(train)[0].tolist() == [CLIP, -CLIP]
    assert scaling.apply(np.array([[1e9, -1e9]])).tolist() == [[CLIP, -CLIP]]
    inside = scaling.mean + 9.5 * scaling.sd
    np.testing.assert_allclose(scaling.apply(inside[None]), [[9.5, 9.5]])


def test_the_unit_of_the_features_does_not_matter():
    train, new = relu_features(0), relu_features(1)
    expected = Scaling.fit(train).apply(new)
    for unit in (2.0**-40, 2.0**40):
        np.testing.assert_array_equal(Scaling.fit(train * np.float32(unit)).apply(new * np.float32(unit)), expected)


def test_the_floor_is_relative_to_the_features_that_vary():
    """More dead features than live ones would make a median of 0, and every rounding error a feature."""
    train = np.concatenate([np.zeros((300, 40), np.float32), relu_features(0)], axis=1)
    scaling = Scaling.fit(train)
    assert scaling.sd[40 + NEARLY_DEAD] == 0
    assert (scaling.sd > 0).sum() == 11


def test_exact_features_of_uneven_scale_are_all_kept():
    """A cubic in the coordinates of a large array: x varies by 200, its cube by millions, both without rounding."""
    xy = np.stack(np.divmod(np.arange(800 * 800), 800), axis=1).astype(float)[::7]
    (section,) = linear_cohort(0, {"A1": len(xy)}, features=1, genes=1).sections
    terms = cubic(type(section)(**{**vars(section), "array_xy": xy}))
    scaling = Scaling.fit(terms)
    assert len(terms) > 2 * CHUNK
    np.testing.assert_allclose(scaling.mean, terms.mean(axis=0), atol=1e-9 * terms.std(axis=0).max())
    np.testing.assert_allclose(scaling.sd, terms.std(axis=0), rtol=1e-10)


def test_context_is_z_scored_in_its_section_by_the_same_rules():
    colours = np.random.default_rng(0).normal(0.7, 0.1, (60, 6)).astype(np.float32)
    colours[:, 4] = 0.3
    colours[0, 1] = 50
    (section,) = linear_cohort(0, {"A1": 60}).sections
    z = Context().read(sealed(type(section)(**{**vars(section), "store": Store({"A1": colours}, {})})))
    assert z.shape == (60, 15)
    assert not z[:, 4].any()
    assert z[0, 1] == pytest.approx(59**0.5, rel=1e-3), "one spot far out lies sqrt(n - 1) sds from the mean"
    np.testing.assert_allclose(z.std(axis=0), np.where(np.arange(15) == 4, 0, 1))


@pytest.mark.parametrize(
    "name",
    ["ridge", "knn", "context", "bleep[epochs=1]", "stnet[epochs=1]", "histogene[epochs=1,dim=32]", "qca[epochs=1]"],
)
def test_a_saved_model_knows_which_features_say_nothing(name: str, tmp_path: Path):
    train, test = linear_cohort(0, {"A1": 40}), linear_cohort(1, {"B1": 20})
    for cohort in (train, test):
        cohort.sections[0].store._features[cohort.sections[0].id][:, 3] *= 1e-6
    method = registry.parse(name).build()
    method.fit(train, None, FitContext())
    section = sealed(test.sections[0])
    expected = method.predict(section)
    method.save(tmp_path / "model")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "model").predict(section), expected)
    if name != "context":  # its features are z-scored in each section, where any spread counts
        test.sections[0].store._features["B1"][:, 3] = 1e6
        np.testing.assert_array_equal(registry.load_method(tmp_path / "model").predict(section), expected)


def test_a_channel_that_is_constant_is_not_divided_by_nothing():
    train = linear_cohort(0, {"A1": 5}, patch=8)
    train.sections[0].store._patches["A1"][..., 1] = 90
    mean, sd = channel_statistics(train)
    assert mean[1] == pytest.approx(90 / 255)
    assert sd[1] == pytest.approx(1 / 255)

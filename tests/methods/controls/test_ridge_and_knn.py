"""Controls against independent plain implementations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.cohort import Cohort, MeasuredSection, SealedSection
from qbench.methods.controls.knn import KnnParameters, NearestNeighbours
from qbench.methods.controls.mean import Mean
from qbench.methods.controls.ridge import ALPHAS, Colour, Ridge, RidgeParameters, Untrained
from qbench.methods.method import FitContext
from qbench.methods.registry import load_method
from qbench.methods.selection import validation_scores


class Store:
    """Feature arrays by section."""

    def __init__(self, features: dict[str, np.ndarray]) -> None:
        self._features = features
        self.asked: set[str] = set()

    def features(self, section: str, encoder: str) -> np.ndarray:
        self.asked.add(encoder)
        return self._features[section]

    def patches(self, section: str) -> np.ndarray:
        raise AssertionError("controls read no pixels")


def make(seed: int, sections: dict[str, int], d: int, g: int, noise: float = 0.3):
    """Cohorts on a shared linear truth with features of uneven scale; also the plain arrays, by section."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).normal(size=(d, g))
    scale = np.linspace(0.1, 30, d)
    x = {s: (rng.normal(size=(n, d)) * scale + scale).astype(np.float32) for s, n in sections.items()}
    y = {s: (v / scale @ truth + noise * rng.normal(size=(len(v), g))).astype(np.float32) for s, v in x.items()}
    store = Store(x)
    genes = tuple(f"G{i}" for i in range(g))
    measured = tuple(
        MeasuredSection(
            s,
            s[0],
            genes,
            tuple(f"{s}{i}" for i in range(len(x[s]))),
            np.zeros((len(x[s]), 2)),
            None,
            None,
            None,
            store,
            target=y[s],
        )
        for s in sections
    )
    return Cohort(measured, genes), x, y, store


def sealed(section: MeasuredSection) -> SealedSection:
    return SealedSection(**{name: getattr(section, name) for name in SealedSection.__dataclass_fields__})


def plain_ridge(x: np.ndarray, y: np.ndarray, new: np.ndarray, alpha: float) -> np.ndarray:
    mean, sd = x.mean(0), x.std(0)
    z = (x - mean) / sd
    w = np.linalg.solve(z.T @ z + alpha * np.eye(z.shape[1]), z.T @ (y - y.mean(0)))
    return (new - mean) / sd @ w + y.mean(0)


def test_mean_is_the_training_mean():
    train, _, y, _ = make(0, {"A1": 5, "B1": 7}, 3, 4)
    test, *_ = make(1, {"C1": 6}, 3, 4)
    method = Mean()
    method.fit(train, None, FitContext())
    prediction = method.predict(sealed(test.sections[0]))
    expected = np.vstack([y["A1"], y["B1"]]).astype(np.float64).mean(0)
    assert prediction.shape == (6, 4)
    assert prediction.dtype == np.float32
    np.testing.assert_allclose(prediction, np.tile(expected, (6, 1)), rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 40)], ids=["more spots", "more features"])
def test_ridge_equals_the_normal_equations(n: int, d: int):
    train, x, y, _ = make(0, {"A1": n // 2, "B1": n - n // 2}, d, 5)
    test, x_test, _, _ = make(1, {"C1": 9}, d, 5)
    method = Ridge(RidgeParameters(alpha=7.0))
    method.fit(train, None, FitContext())
    expected = plain_ridge(
        np.vstack([x["A1"], x["B1"]]).astype(np.float64),
        np.vstack([y["A1"], y["B1"]]),
        x_test["C1"].astype(np.float64),
        7.0,
    )
    np.testing.assert_allclose(method.predict(sealed(test.sections[0])), expected, rtol=1e-5, atol=1e-5)
    assert method.n_parameters() == (d + 1) * 5


@pytest.mark.parametrize("select", ["mse", "pcc"])
def test_ridge_takes_the_alpha_that_validation_prefers(select: str):
    train, x, y, _ = make(0, {"A1": 30}, 20, 6, noise=3.0)
    validation, x_v, y_v, _ = make(1, {"B1": 15, "B2": 20}, 20, 6, noise=3.0)
    context = FitContext(select=select)  # type: ignore[arg-type]
    method = Ridge()
    method.fit(train, validation, context)
    features = np.vstack([x_v["B1"], x_v["B2"]]).astype(np.float64)

    def figure(alpha: float) -> float:
        p = plain_ridge(x["A1"].astype(np.float64), y["A1"], features, alpha)
        if select == "mse":
            return float(((p - np.vstack([y_v["B1"], y_v["B2"]])) ** 2).mean())
        r = [
            [np.corrcoef(q[:, g], t[:, g])[0, 1] for g in range(6)]
            for q, t in ((p[:15], y_v["B1"]), (p[15:], y_v["B2"]))
        ]
        return -float(np.mean(r))

    best = min(ALPHAS, key=figure)
    assert context.history[0]["alpha"] == best
    assert context.history[0][f"validation_{select}"] == pytest.approx(abs(figure(best)), rel=1e-6)


def test_ridge_survives_constant_and_repeated_features():
    train, x, _, _ = make(0, {"A1": 30}, 6, 3)
    x["A1"][:, 2] = 5.0
    x["A1"][:, 3] = x["A1"][:, 4]
    method = Ridge(RidgeParameters(alpha=0.0))
    method.fit(train, None, FitContext())
    assert np.isfinite(method.predict(sealed(train.sections[0]))).all()


def test_ridge_says_when_validation_wants_no_features_at_all():
    train, *_ = make(0, {"A1": 30}, 40, 2)
    section = train.sections[0]
    opposite = Cohort((replace(section, target=2 * section.target.mean(axis=0) - section.target),), train.genes)
    context = FitContext()
    Ridge().fit(train, opposite, context)
    assert "largest alpha" in context.warnings[0]


def test_colour_and_untrained_read_their_own_encoders():
    for cls, encoder in ((Colour, "rgb"), (Untrained, "random")):
        train, _, _, store = make(0, {"A1": 30}, 6, 3)
        method = cls()
        assert cls.inputs(method.parameters).encoders == (encoder,)
        method.fit(train, None, FitContext())
        method.predict(sealed(train.sections[0]))
        assert store.asked == {encoder}


def test_knn_equals_a_full_sort():
    train, x, y, _ = make(0, {"A1": 25, "B1": 30}, 7, 4)
    test, x_test, _, _ = make(1, {"C1": 8}, 7, 4)
    method = NearestNeighbours(KnnParameters(k=6))
    method.fit(train, None, FitContext())
    reference = np.vstack([x["A1"], x["B1"]]).astype(np.float64)
    mean, sd = reference.mean(0), reference.std(0)
    a, b = (x_test["C1"] - mean) / sd, (reference - mean) / sd
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    rows = np.argsort(-cosine, axis=1)[:, :6]
    expected = np.vstack([y["A1"], y["B1"]])[rows].mean(1)
    np.testing.assert_allclose(method.predict(sealed(test.sections[0])), expected, rtol=1e-5, atol=1e-6)


def test_knn_never_averages_more_spots_than_there_are():
    train, *_ = make(0, {"A1": 12}, 7, 4)
    method = NearestNeighbours(KnnParameters(k=50))
    method.fit(train, None, FitContext())
    prediction = method.predict(sealed(train.sections[0]))
    np.testing.assert_allclose(prediction, np.tile(train.target.mean(0), (12, 1)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", [Mean, Ridge, NearestNeighbours])
def test_a_saved_control_predicts_the_same_bits(cls, tmp_path: Path):
    train, *_ = make(0, {"A1": 40}, 7, 4)
    validation, *_ = make(1, {"B1": 20}, 7, 4)
    method = cls()
    method.fit(train, validation, FitContext())
    method.save(tmp_path / "model")
    again = load_method(tmp_path / "model")
    section = sealed(validation.sections[0])
    assert again.genes == train.genes
    np.testing.assert_array_equal(again.predict(section), method.predict(section))


def test_validation_scores_by_hand():
    target = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [0.0, 0.0], [1.0, 2.0]])
    prediction = np.array([[0.0, 5.0], [2.0, 6.0], [4.0, 7.0], [1.0, 0.0], [0.0, 1.0]])
    scores = validation_scores(prediction, target, np.array([0, 3, 5]))
    # section 1: gene 1 correlates 1, gene 2 is constant in truth: 0; section 2: -1 and 1
    assert scores["validation_pcc"] == pytest.approx((0.5 + 0.0) / 2)
    assert scores["validation_mse"] == pytest.approx((0 + 1 + 4 + 1 + 1 + 16 + 25 + 36 + 0 + 1) / 10)

"""HEST-bench's probe against scikit-learn itself, and the plain network against a hand-written forward pass."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.datasets.cohort import Cohort
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.method import FitContext, Method
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ...support.fitted_methods import check_order, kept_prediction
from ...support.method_cohorts import linear_cohort, sealed


def probe(components: int, genes: int):
    """The benchmark's pipeline in scikit-learn's own words."""
    return make_pipeline(
        StandardScaler(),
        PCA(components, random_state=0),
        Ridge(alpha=100 / (components * genes), solver="lsqr", fit_intercept=False, max_iter=1000, random_state=0),
    )


def fitted(name: str, train: Cohort, **settings):
    method, context = registry.spec(name, settings).build(), FitContext()
    method.fit(train, None, context)
    return method, context


@pytest.mark.parametrize(
    ("spots", "width", "components"),
    [(70, 20, 8), (620, 530, 40), (330, 25, 12)],
    ids=["exact", "randomised", "covariance"],
)
def test_the_probe_equals_scikit_learn(spots: int, width: int, components: int):
    train = linear_cohort(0, {"A1": spots // 2, "B1": spots - spots // 2}, features=width)
    test = linear_cohort(1, {"C1": 30}, features=width).sections[0]
    x = np.asarray(train.features(), dtype=np.float64)
    theirs = probe(components, 9).fit(x, train.target.astype(np.float64))
    due = theirs.predict(np.asarray(test.features(), dtype=np.float64))
    letter, _ = fitted("pca-ridge", train, components=components, add_mean=False)
    np.testing.assert_allclose(letter.predict(sealed(test)), due, rtol=1e-6, atol=1e-6)
    shifted, _ = fitted("pca-ridge", train, components=components)
    mean = train.target.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(shifted.predict(sealed(test)), due + mean, rtol=1e-6, atol=1e-6)
    assert letter.n_parameters() == components * 9


def test_fewer_spots_than_components_are_said():
    train = linear_cohort(0, {"A1": 7}, features=20)
    method, context = fitted("pca-ridge", train)
    assert context.warnings == [
        "pca-ridge: 6 principal components instead of 256, all that 7 training spots of 20 features have."
    ]
    assert np.isfinite(method.predict(sealed(train.sections[0]))).all()
    with pytest.raises(MethodError, match="at least 2 training spots, found 1; add sections"):
        fitted("pca-ridge", linear_cohort(0, {"A1": 1}))


def test_a_given_penalty_is_taken():
    train = linear_cohort(0, {"A1": 60})
    heavy, _ = fitted("pca-ridge", train, components=5, alpha=1e9)
    np.testing.assert_allclose(
        heavy.predict(sealed(train.sections[0])), np.tile(train.target.mean(0), (60, 1)), rtol=1e-4, atol=1e-4
    )


def test_the_network_is_two_layers_and_starts_at_the_mean():
    train = linear_cohort(0, {"A1": 60, "A2": 40})
    method, context = fitted("mlp", train, hidden=7, epochs=1, learning_rate=1e-12, dropout=0.0)
    assert context.history[0]["loss"] == pytest.approx(train.target.var(axis=0).mean(), rel=1e-4)
    section = sealed(train.sections[0])
    np.testing.assert_allclose(method.predict(section), np.tile(train.target.mean(0), (60, 1)), rtol=1e-5, atol=1e-5)
    assert method.n_parameters() == 12 * 7 + 7 + 7 * 9 + 9
    trained, _ = fitted("mlp", train, hidden=7, epochs=3, learning_rate=0.01)
    state, x = trained.state(), np.asarray(train.features(), dtype=np.float64)
    z = (x - x.mean(0)) / x.std(0)
    hidden = np.maximum(z @ state["0.weight"].T + state["0.bias"], 0)
    due = hidden @ state["3.weight"].T + state["3.bias"]
    np.testing.assert_allclose(trained.predict(section), due[:60], rtol=1e-4, atol=1e-4)


def test_the_network_keeps_to_what_every_trained_one_does(tmp_path):
    train = linear_cohort(0, {"A1": 60, "A2": 40})

    def fit(seed: int) -> Method:
        method = registry.spec("mlp", {"hidden": 7, "epochs": 3}).build()
        method.fit(train, None, FitContext(seed=seed))
        return method

    method, section = fit(0), sealed(train.sections[0])
    kept_prediction(fit, section, tmp_path)
    check_order(method, section)
    start, _ = fitted("mlp", train, hidden=7, epochs=1, learning_rate=1e-12)
    assert all((value != method.state()[name]).any() for name, value in start.state().items() if name[0] in "03")


@pytest.mark.parametrize(("name", "share"), [("pca-ridge", 0.1), ("mlp", 0.5)])
def test_they_learn_repeat_and_are_kept(name: str, share: float, tmp_path):
    train, test = linear_cohort(0, {"A1": 150, "A2": 150}), linear_cohort(1, {"B1": 80}).sections[0]
    settings = {"components": 12} if name == "pca-ridge" else {"epochs": 30}
    method, _ = fitted(name, train, **settings)
    prediction = method.predict(sealed(test))
    error = ((prediction - test.target) ** 2).mean()
    assert error < share * ((train.target.mean(0) - test.target) ** 2).mean()
    np.testing.assert_array_equal(fitted(name, train, **settings)[0].predict(sealed(test)), prediction)
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(sealed(test)), prediction)

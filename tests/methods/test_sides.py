"""What a method takes from which side: training alone is learned from, validation selects, a test section is only read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qbench.datasets.cohort import Cohort, MeasuredSection
from qbench.methods.method import FitContext, Method
from qbench.methods.registry import parse

from ..support.method_cohorts import Store, sealed
from ..support.view_cohorts import ViewStore, view_cohort

SMALL = "dim=16,components=8,neighbour_heads=2,global_heads=4,fusion_heads=2"
# With one epoch, or the penalty or the neighbours given, there is nothing that validation could select.
UNSELECTED = (
    "mean",
    "label",
    "coordinates[alpha=10]",
    "context[alpha=10]",
    "colour[alpha=10]",
    "untrained[alpha=10]",
    "ridge[alpha=10]",
    "knn[k=3]",
    "shuffled[method=mean]",
    "stnet[epochs=1]",
    "histogene[epochs=1]",
    "hist2st[epochs=1]",
    "thitogene[epochs=1]",
    "pca-ridge",
    "mlp[epochs=1]",
    f"triplex[epochs=1,{SMALL}]",
    "deepspot[epochs=1]",
    "istar[epochs=1]",
    "xfuse[epochs=1,components=8,width=8]",
    "bleep[epochs=1]",
    "qca[epochs=1]",
)
SCALED = (
    "ridge[alpha=10]",
    "knn[k=3]",
    "stnet[epochs=1]",
    "histogene[epochs=1]",
    "hist2st[epochs=1]",
    "thitogene[epochs=1]",
    "pca-ridge",
    "mlp[epochs=1]",
    "bleep[epochs=1]",
    "qca[epochs=1]",
)
TRAINED = (  # so fast, on spots so noisy, that neither the last epoch nor the one of least loss is the best on validation
    "stnet[epochs=60,learning_rate=0.1,patience=0]",
    "histogene[epochs=30,learning_rate=0.01,patience=0]",
    "thitogene[epochs=30,learning_rate=0.01,patience=0]",
    "hist2st[epochs=40,learning_rate=0.03,patience=0,graph_layers=2]",
    "bleep[epochs=30,learning_rate=0.01,patience=0]",
    "qca[epochs=30,learning_rate=0.01,patience=0]",
)


@pytest.fixture(scope="module")
def train() -> Cohort:
    return labelled(view_cohort(0, {"A1": 30, "B1": 25}))


def labelled(cohort: Cohort) -> Cohort:
    labels = ("tumour", "stroma", "")
    sections = [replace(s, labels=tuple(labels[i % 3] for i in range(s.n_spots))) for s in cohort.sections]
    return Cohort(tuple(sections), cohort.genes)


def other(cohort: Cohort, features: float = 0.0, target: float = 0.0) -> Cohort:
    """The same sections, all their features and all their targets moved."""

    def moved(section: MeasuredSection) -> MeasuredSection:
        store = ViewStore(Store({section.id: (section.features()[:] + features).astype(np.float32)}, {}))
        assert section.target is not None
        return replace(section, store=store, target=section.target + np.float32(target))

    return Cohort(tuple(moved(section) for section in cohort.sections), cohort.genes)


def fitted(label: str, train: Cohort, validation: Cohort | None) -> tuple[Method, FitContext]:
    method, context = parse(label, "fast").build(), FitContext(seed=1)
    method.fit(train, validation, context)
    return method, context


@pytest.mark.parametrize("label", UNSELECTED)
def test_what_validation_holds_moves_nothing_but_the_selection(label: str, train: Cohort) -> None:
    validation = labelled(view_cohort(1, {"C1": 20}))
    first, _ = fitted(label, train, validation)
    second, _ = fitted(label, train, other(validation, features=50, target=3))
    state = first.state()
    assert state.keys() == second.state().keys()
    for name, values in second.state().items():
        np.testing.assert_array_equal(values, state[name], err_msg=name)


@pytest.mark.parametrize("label", SCALED)
def test_the_scale_of_features_is_that_of_training(label: str, train: Cohort) -> None:
    method, _ = fitted(label, train, view_cohort(1, {"C1": 20}))
    state = method.state()
    (mean,) = (values for name, values in state.items() if name in ("mean", "image.mean"))
    np.testing.assert_allclose(mean, train.features()[:].astype(np.float64).mean(axis=0), rtol=1e-9)
    section = view_cohort(2, {"D1": 20}).sections[0]
    before = method.predict(sealed(section))
    shifted = other(Cohort((section,), section.genes), features=3).sections[0]
    after = method.predict(sealed(shifted))
    assert abs(after - before).max() > 1e-3, "a test section scaled by its own mean would not have moved"
    for name, values in method.state().items():
        np.testing.assert_array_equal(values, state[name], err_msg=f"{name} changed in predict")


@pytest.mark.parametrize("label", ["ridge", "knn", *TRAINED])
def test_what_was_kept_is_what_was_best_on_validation(label: str) -> None:
    train = view_cohort(0, {"A1": 30, "B1": 25}, noise=1.5)
    validation = view_cohort(1, {"C1": 20, "E1": 15}, noise=1.5)
    method, context = fitted(label, train, validation)
    figures = [epoch["validation_mse"] for epoch in context.history]
    predicted = np.concatenate([method.predict(sealed(section)) for section in validation.sections])
    assert ((predicted - validation.target) ** 2).mean() == pytest.approx(min(figures), rel=1e-4)
    if label in TRAINED:
        losses = [epoch["loss"] for epoch in context.history]
        others = {figures[-1], figures[int(np.argmin(losses))]}
        assert all(figure > 1.001 * min(figures) for figure in others), "this data cannot tell what selected"


def test_every_method_that_reads_features_is_among_these() -> None:
    from qbench.methods.registry import names

    oracles = {"depth", "patient-mean"}
    assert {label.partition("[")[0] for label in UNSELECTED} == set(names()) - oracles

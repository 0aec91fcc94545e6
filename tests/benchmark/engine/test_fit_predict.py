"""What every caller checks of a method: its genes after fit, and the shape, values and seal of a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qbench.benchmark.engine import cell
from qbench.benchmark.engine.fit_predict import fit, predict
from qbench.datasets.cohort import Cohort, MeasuredSection
from qbench.errors import MethodError
from qbench.methods.method import FitContext, Method

from ...support.method_cohorts import linear_cohort


class Planted(Method):
    """Takes the genes and says the values that a test gives it, and keeps what it was shown."""

    name = "planted"

    def __init__(self, genes: Any = None, values: Any = None) -> None:
        super().__init__()
        self.given, self.values = genes, values
        self.seen: list[Any] = []

    def fit(self, train: Cohort, validation: Cohort | None, context: FitContext) -> None:
        self.seen.append(validation)
        self.genes = train.genes if self.given is None else self.given

    def predict(self, section: Any) -> Any:
        self.seen.append(section)
        return self.values


@pytest.fixture
def cohort() -> Cohort:
    return linear_cohort(0, {"A1": 3})


@pytest.mark.parametrize("change", [lambda genes: (), lambda genes: genes[::-1], list])
def test_a_method_takes_the_genes_of_its_cohort(cohort: Cohort, change: Any) -> None:
    with pytest.raises(MethodError, match=r"planted must set self\.genes = train\.genes in fit\(\)"):
        fit(Planted(genes=change(cohort.genes)), cohort, None, FitContext())
    taken = Planted()
    fit(taken, cohort, Cohort((), cohort.genes), FitContext())
    assert taken.seen == [None], "a validation side without spots is none"


def test_a_prediction_has_its_shape_and_is_finite(cohort: Cohort) -> None:
    section, n = cohort.sections[0], len(cohort.genes)
    with pytest.raises(MethodError, match=rf"planted on section A1: expected .* \(3, {n}\) .* found \({n}, 3\)"):
        predict(Planted(values=np.zeros((n, 3), np.float32)), section)
    values = np.zeros((3, n), np.float32)
    values[1, 0] = np.inf
    with pytest.raises(MethodError, match="planted on section A1: expected finite predictions, found 1 that are not"):
        predict(Planted(values=values), section)


def test_a_prediction_is_float32_and_clamped_unless_it_is_judged_as_it_is(cohort: Cohort) -> None:
    section, n = cohort.sections[0], len(cohort.genes)
    method = Planted(values=np.full((3, n), -1.5))
    for clamped, due in ((True, 0.0), (False, -1.5)):
        found = predict(method, section, clamped)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.full((3, n), due, np.float32))


def test_no_method_is_shown_the_target_of_what_it_predicts(cohort: Cohort) -> None:
    section = cohort.sections[0]
    method = Planted(values=np.zeros((3, len(cohort.genes))))
    predict(method, section)
    (seen,) = method.seen
    assert not isinstance(seen, MeasuredSection)
    assert not hasattr(seen, "target")
    assert (seen.id, seen.spots, seen.store) == (section.id, section.spots, section.store)


def test_memory_that_ends_anywhere_in_a_method_is_one_sentence(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of"
        )

    for what in ("fit", "predict"):
        monkeypatch.setattr(Planted, what, full)
    said = r"does not fit into memory \(CUDA out of memory: tried to allocate 2\.00 GiB, of a GPU's 8\.00 GiB\); run fewer cells"
    with pytest.raises(MethodError, match=f"What planted learns from {said}"):
        fit(Planted(), cohort, None, FitContext())
    with pytest.raises(MethodError, match=f"Section A1, which planted predicts, {said}"):
        predict(Planted(), cohort.sections[0])


def test_a_record_holds_what_tensors_took_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 5_000_000)
    assert cell._peaks("cuda")["peak_device_memory_mb"] == 5.0
    assert cell._peaks("cpu")["peak_device_memory_mb"] is None

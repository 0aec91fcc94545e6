"""Controls by position, label and permutation, and the oracles, on sections made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.datasets.cohort import Cohort, MeasuredSection, SealedSection
from qbench.errors import MethodError
from qbench.methods.controls.label import Label
from qbench.methods.controls.oracles import Depth, PatientMean
from qbench.methods.controls.position import Coordinates, cubic
from qbench.methods.controls.shuffled import Shuffled
from qbench.methods.method import FitContext


class Store:
    """Features that are the row number, twice."""

    def features(self, section: str, encoder: str) -> np.ndarray:
        return np.repeat(np.arange(100, dtype=np.float32)[:, None], 2, axis=1) + np.float32(len(section))

    def patches(self, section: str) -> np.ndarray:
        raise AssertionError("no patches here")


def section(
    name: str, n: int = 100, labels: list[str] | None = None, target: np.ndarray | None = None, depth: int = 50
):
    rng = np.random.default_rng(len(name) + n)
    xy = np.stack(np.divmod(np.arange(n), 10), axis=1).astype(float)
    values = {
        "id": name, "patient": name[0], "genes": ("G", "H"), "spots": tuple(map(str, range(n))), "array_xy": xy, "pixel_xy": None,
        "microns_per_pixel": None, "labels": None if labels is None else tuple(labels), "store": Store(),
    }  # fmt: skip
    if target is None:
        target = np.stack([xy[:, 0], np.arange(n)], axis=1)
    measured = MeasuredSection(
        **values, target=target.astype(np.float32), library_size=rng.integers(depth, 10 * depth, n).astype(np.int64)
    )
    return measured, SealedSection(**values)


def fit(method, *measured):
    method.fit(Cohort(tuple(measured), ("G", "H")), None, FitContext(seed=5))
    return method


def test_coordinates_are_centred_in_each_section_and_learn_a_plane():
    measured, sealed = section("A1")
    assert cubic(sealed)[:, 0].mean() == pytest.approx(0)
    method = Coordinates(Coordinates.Parameters(alpha=1e-9))
    moved = SealedSection(**{**vars(sealed), "array_xy": sealed.array_xy + 1000})
    assert fit(method, measured).predict(moved)[:, 0] == pytest.approx(sealed.array_xy[:, 0], abs=1e-3)


def test_label_predicts_the_mean_of_the_label_and_the_training_mean_elsewhere():
    labels = ["tumour"] * 60 + ["stroma"] * 30 + [""] * 10
    measured, _ = section("A1", labels=labels)
    bare, unlabelled = section("B12")
    method = fit(Label(), measured, bare)
    _, sealed = section("C1", n=3, labels=["stroma", "unseen", "tumour"])
    predicted = method.predict(sealed)
    everything = np.concatenate([measured.target, bare.target]).mean(axis=0)
    assert predicted[0] == pytest.approx(measured.target[60:90].mean(axis=0))
    assert predicted[1] == pytest.approx(everything)
    assert predicted[2] == pytest.approx(measured.target[:60].mean(axis=0))
    assert np.ptp(method.predict(unlabelled), axis=0).tolist() == [0, 0]


def test_label_without_any_label_says_what_is_missing():
    measured, _ = section("A1")
    with pytest.raises(MethodError, match="found none"):
        fit(Label(), measured)


def test_a_saved_label_keeps_its_names(tmp_path):
    measured, _ = section("A1", labels=["a b", "c"] * 50)
    method = fit(Label(), measured)
    method.save(tmp_path)
    _, sealed = section("C1", n=2, labels=["c", "a b"])
    assert (Label.load(tmp_path).predict(sealed) == method.predict(sealed)).all()


def test_shuffled_gives_the_methods_own_predictions_in_another_order(tmp_path):
    measured, sealed = section("A1")
    method = fit(Shuffled(), measured)
    straight = method._method.predict(sealed)
    permuted = method.predict(sealed)
    assert not np.allclose(straight, permuted)
    assert np.sort(permuted[:, 1]) == pytest.approx(np.sort(straight[:, 1]))
    assert (method.predict(sealed) == permuted).all()
    method.save(tmp_path)
    assert (Shuffled.load(tmp_path).predict(sealed) == permuted).all()


def test_the_depth_oracle_follows_the_revealed_library_sizes():
    train, _ = section("A1")
    target = np.stack([2 + 0.5 * np.log1p(train.library_size), 1 - 0.1 * np.log1p(train.library_size)], axis=1)
    train = MeasuredSection(**{**vars(train), "target": target.astype(np.float32)})
    test, sealed = section("B12", depth=500)
    method = fit(Depth(), train)
    method.reveal(Cohort((test,), ("G", "H")))
    assert method.predict(sealed)[:, 0] == pytest.approx(2 + 0.5 * np.log1p(test.library_size), abs=1e-4)


def test_the_patient_mean_oracle_is_the_mean_over_the_patients_own_sections():
    train, _ = section("A1")
    first, sealed = section("B1", n=40)
    second, _ = section("B22", n=60)
    other, _ = section("C1", n=50)
    method = fit(PatientMean(), train)
    method.reveal(Cohort((first, second, other), ("G", "H")))
    expected = np.concatenate([first.target, second.target]).mean(axis=0)
    assert method.predict(sealed) == pytest.approx(np.tile(expected, (40, 1)))

"""The view of a fold that trials open: both of its sides as files, each section with its own inputs alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qbench.benchmark.engine.inputs import PreparedInputs
from qbench.benchmark.sweep.view import FoldView, open_view, write_view
from qbench.datasets.cohort import Cohort
from qbench.datasets.tiles import Surroundings
from qbench.errors import MethodError

from ...support.method_cohorts import linear_cohort

AROUND = Surroundings(tile=4, grid=3)
SIZES = {"A1": 7, "B1": 5, "C1": 6, "D1": 4}  # D1 is the test section: its inputs are prepared like all others


@pytest.fixture
def inputs() -> PreparedInputs:
    patches = {name: np.full((n, 4, 4, 3), i, np.uint8) for i, (name, n) in enumerate(SIZES.items())}
    features = {(name, "rgb"): np.full((n, 6), i, np.float32) for i, (name, n) in enumerate(SIZES.items())}
    tiles = {
        (name, AROUND.key): (np.full((1, 2, 4, 4, 3), i, np.uint8), np.arange(2.0 * n).reshape(n, 2))
        for i, (name, n) in enumerate(SIZES.items())
    }
    return PreparedInputs(patches, features, tiles)


def cohorts() -> dict[str, Cohort]:
    def counted(cohort: Cohort) -> Cohort:
        return Cohort(
            tuple(
                replace(s, library_size=np.arange(s.n_spots) + ord(s.id[0]), target_name="proportion")
                for s in cohort.sections
            ),
            cohort.genes,
        )

    sides = {"train": ("A1", "B1"), "validation": ("C1",)}
    return {
        side: counted(linear_cohort(i, {n: SIZES[n] for n in names})) for i, (side, names) in enumerate(sides.items())
    }


@pytest.fixture
def view(inputs: PreparedInputs, tmp_path: Path) -> FoldView:
    return FoldView.model_validate_json(write_view(tmp_path / "view", cohorts(), inputs).model_dump_json())


def test_a_view_is_the_cohorts_that_a_cell_has(view: FoldView, inputs: PreparedInputs) -> None:
    for opened, due in zip(open_view(view), cohorts().values(), strict=True):
        assert [s.id for s in opened.sections] == [s.id for s in due.sections]
        np.testing.assert_array_equal(opened.target, due.target)
        np.testing.assert_array_equal(opened.library_size, due.library_size)
        np.testing.assert_array_equal(opened.array_xy, due.array_xy)
        for section, before in zip(opened.sections, due.sections, strict=True):
            assert section.target_name == "proportion"
            np.testing.assert_array_equal(section.counts(), before.counts())
            np.testing.assert_array_equal(section.patches()[:], inputs.opened_patches[section.id])
            np.testing.assert_array_equal(section.features("rgb")[:], inputs.opened_features[section.id, "rgb"])
            pixels, places = inputs.opened_tiles[section.id, AROUND.key]
            there, beyond = section.tiles(AROUND).read(np.array([[1, 0], [2, 0]]))
            np.testing.assert_array_equal(there, pixels[0, 1])
            assert (beyond == 255).all()
            np.testing.assert_array_equal(section.tiles(AROUND).places, places)


def test_a_trials_section_gives_its_own_inputs_and_no_others(view: FoldView, inputs: PreparedInputs) -> None:
    for cohort in open_view(view):
        for section in cohort.sections:
            assert section.store is not None
            for other in SIZES.keys() - {section.id}:
                with pytest.raises(
                    MethodError, match=f"asked for patches of section {other}, but a section gives only"
                ):
                    section.store.patches(other)
                with pytest.raises(MethodError, match=f"asked for features of section {other} by encoder 'rgb', but"):
                    section.store.features(other, "rgb")
                for store in (section.store, inputs.only(section.id)):
                    with pytest.raises(MethodError, match=f"asked for tiles around spots of section {other}, but"):
                        store.tiles(other, AROUND.key)
            with pytest.raises(MethodError, match=r"add what is missing to Method.inputs\(\)"):
                section.store.features(section.id, "")


def test_the_test_section_stands_in_no_file_of_the_view(view: FoldView, tmp_path: Path) -> None:
    assert "D1" not in view.model_dump_json()
    found = [np.load(path) for path in (tmp_path / "view").iterdir()]
    assert not [values for values in found if (values == 3).all()], "its patches and features are all 3"


def test_what_a_trial_changes_stays_its_own(view: FoldView) -> None:
    train, _ = open_view(view)
    train.target[:] = 0
    again, _ = open_view(view)
    np.testing.assert_array_equal(again.target, cohorts()["train"].target)
    with pytest.raises(ValueError, match="read-only"):
        again.sections[0].store.patches("A1")[:] = 0

"""Folds follow the contract's rules."""

import numpy as np
import pytest
from qbench.datasets.folds import is_leaky, make_folds
from qbench.datasets.protocol import HeldOut, Protocol
from qbench.errors import ConfigurationError, DataError


def protocol(sections, unit="patient", folds=None):
    return Protocol(
        name=unit,
        title=unit,
        dataset="d",
        sections=tuple(sections),
        held_out="groups" if folds else unit,
        unit=unit,
        folds=folds,
    )


def owners(sections):
    return {s: s[0] for s in sections}


def ids(parts):
    return [p.section for p in parts]


def test_next_patient_in_cyclic_order_validates():
    sections = ["A1", "A2", "B1", "C1", "D1"]
    folds = {f.name: f for f in make_folds(protocol(sections), owners(sections))}
    assert list(folds) == ["A", "B", "C", "D"]
    assert ids(folds["A"].validation) == ["B1"]
    assert ids(folds["D"].validation) == ["A1", "A2"]
    assert ids(folds["D"].train) == ["B1", "C1"]
    assert ids(folds["A"].test) == ["A1", "A2"]


def test_two_training_patients_validate_on_the_last_section_by_id():
    sections = ["A1", "B1", "B2", "C1"]
    folds = {f.name: f for f in make_folds(protocol(sections), owners(sections))}
    assert ids(folds["A"].validation) == ["C1"]
    assert ids(folds["C"].validation) == ["B2"]


def test_one_training_section_is_split_at_the_largest_x():
    sections = ["B4", "C2", "C3", "C4", "C5"]
    folds = {f.name: f for f in make_folds(protocol(sections), owners(sections))}
    assert ids(folds["B"].train) == ["C2", "C3", "C4"]
    assert ids(folds["B"].validation) == ["C5"]
    fold = folds["C"]
    assert [(p.section, p.portion) for p in (*fold.train, *fold.validation)] == [("B4", "near"), ("B4", "far")]
    x = np.array([[5.0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [5, 0], [0, 0], [1, 0], [2, 0], [3, 0]])
    assert fold.validation[0].rows(x).tolist() == [0, 5]
    assert fold.train[0].rows(x).tolist() == [1, 2, 3, 4, 6, 7, 8, 9]


def test_section_protocol_validates_on_the_next_section_of_the_patient():
    sections = ["B4", "C2", "C3", "C5"]
    p = protocol(sections, "section")
    folds = {f.name: f for f in make_folds(p, owners(sections))}
    assert ids(folds["C2"].validation) == ["C3"]
    assert ids(folds["C5"].validation) == ["C2"]
    assert ids(folds["B4"].validation) == ["C5"]
    assert is_leaky(folds.values(), owners(sections))


def test_listed_groups_and_their_validation():
    sections = ["A1", "B1", "E1", "G1", "H1"]
    p = protocol(sections, folds=(HeldOut(name="GH", test=("G", "H"), validation=("E",)),))
    (fold,) = make_folds(p, owners(sections))
    assert (ids(fold.train), ids(fold.validation), ids(fold.test)) == (["A1", "B1"], ["E1"], ["G1", "H1"])


@pytest.mark.parametrize("sections", [["A1", "A2"], ["A1"]])
def test_fewer_than_two_patients_is_refused(sections):
    with pytest.raises(ConfigurationError, match="at least two"):
        make_folds(protocol(sections), owners(sections))


def board(sections):
    made = {"name": "spots-held-out", "title": "t", "dataset": "d", "sections": tuple(sections)}
    return make_folds(Protocol(**made, held_out="spots", unit="spot"), owners(sections))


def test_a_checkerboard_holds_out_half_of_each_section():
    folds = board(["A1", "B1"])
    assert [f.name for f in folds] == ["A1", "B1"]
    fold = folds[0]
    assert ids(fold.parts) == ["A1"] * 3
    assert is_leaky(folds, owners(["A1", "B1"]))
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(6), np.arange(5)))
    xy = np.stack([x, y], axis=1) + 0.02
    sides = [part.rows(xy) for part in fold.parts]
    assert sorted(np.concatenate(sides)) == list(range(30)), "each spot on one side"
    assert set((x + y)[sides[2]] % 2) == {1}
    assert len(sides[2]) == 15
    assert len(sides[1]) == 3
    assert [part.count(30) for part in fold.parts] == list(map(len, sides))
    shuffled = np.random.default_rng(0).permutation(30)
    again = fold.test[0].rows(xy[shuffled])
    assert sorted(shuffled[again]) == sides[2].tolist(), "whatever the rows' order"


@pytest.mark.parametrize("n", range(10, 40))
def test_every_spot_has_one_side_however_the_colours_fall(n: int):
    (fold,) = board(["A1"])
    rng = np.random.default_rng(n)
    xy = rng.permutation(np.stack(np.divmod(np.arange(64), 8), axis=1))[:n].astype(float)
    sides = [part.rows(xy) for part in fold.parts]
    assert sorted(np.concatenate(sides)) == list(range(n))
    assert [part.count(n) for part in fold.parts] == list(map(len, sides))
    assert min(map(len, sides)) > 0


def test_a_section_too_small_for_a_checkerboard_is_one_sentence():
    (fold,) = board(["A1"])
    with pytest.raises(DataError, match="Section A1: expected at least 10 spots"):
        fold.test[0].rows(np.zeros((9, 2)))

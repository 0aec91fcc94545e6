"""Folds follow the contract's rules."""

import numpy as np
import pytest
from qbench.datasets.folds import is_leaky, make_folds
from qbench.datasets.protocol import HeldOut, Protocol
from qbench.errors import ConfigurationError


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

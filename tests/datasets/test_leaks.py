"""Every kind of leak that is planted is stopped: by names, and by what the spots are."""

import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.folds import Fold, Part, make_folds, training_source
from qbench.datasets.leaks import Overlap, check_leaks, check_panel, count_shared, find_overlaps
from qbench.datasets.panel import GenePanel
from qbench.datasets.protocol import Protocol
from qbench.datasets.registry import Dataset, DatasetCard, SectionInfo
from qbench.datasets.section import Section
from qbench.errors import IntegrityError
from scipy import sparse

GENES = tuple(f"G{i}" for i in range(40))
PATIENTS = {"A1": "A", "A2": "A", "B1": "B", "C1": "C", "copy": "Z"}


def values(n=40, seed=0, mean=3.0):
    """int32 (n, 40), about 120 UMI a spot."""
    return np.random.default_rng(seed).poisson(mean, (n, len(GENES))).astype(np.int32)


def dataset(counts, patients=PATIENTS):
    """A dataset in memory of the given counts; array positions run along x."""

    def load(info):
        n = len(counts[info.id])
        return Section(
            id=info.id,
            patient=info.patient,
            counts=sparse.csr_matrix(counts[info.id]),
            genes=GENES,
            spots=tuple(f"s{i}" for i in range(n)),
            array_xy=np.column_stack([np.arange(n, dtype=float), np.zeros(n)]),
            content=info.content,
        )

    infos = tuple(SectionInfo(name, patients[name], None, False, f"file of {name}") for name in sorted(counts))
    return Dataset(DatasetCard(name="mine", title="Mine", simulated=False, reader="h5ad"), infos, load)


def fold(train, validation, test):
    def parts(names):
        return tuple(Part(n) if isinstance(n, str) else Part(*n) for n in names)

    return Fold("X", parts(train), parts(validation), parts(test), "")


@pytest.fixture
def own(tmp_path):
    """A cache that no other test fills."""
    return ArrayCache(tmp_path)


def cohort(**changes):
    counts = {name: values(seed=i) for i, name in enumerate(("A1", "A2", "B1", "C1"))}
    return dataset(counts | {"copy": counts["A1"]} | changes)


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (fold(["A1", "B1"], ["C1"], ["A2"]), "patient A stands"),
        (fold(["B1"], ["A1"], ["A2"]), "patient A stands"),
        (fold(["A1"], ["B1"], ["A1"]), "train and test hold the same spots, those of A1"),
        (fold(["B1"], ["C1"], ["C1"]), "validation and test hold the same spots, those of C1"),
        (fold([("B1", "near")], [("B1", "near")], ["A1"]), "same spots, those of the near part of B1"),
        (fold([("B1", "near")], ["B1"], ["A1"]), "two sides"),
        (fold([("B1", "near")], ["C1"], [("B1", "far")]), "split between test"),
        (fold([("B1", "kept")], ["C1"], ["B1"]), "two sides"),
        (fold([("B1", "kept")], [("B1", "held")], [("B1", "held")]), "same spots, those of the held part of B1"),
        (fold([("B1", "near")], ["C1"], [("B1", "held")]), "split in two ways"),
        (fold([("B1", "kept")], [("B1", "chosen")], [("B1", "held")]), "patient B stands"),
        (
            fold(["copy"], ["B1"], ["A1"]),
            "A1 \\(patient A\\) and copy \\(patient Z\\) hold the same spots: 40 of the 40",
        ),
        (fold(["A1", "copy"], ["C1"], ["B1"]), "A1 \\(patient A\\) and copy \\(patient Z\\) hold the same spots: 40"),
    ],
)
def test_planted_leaks_are_stopped(planted, words, own):
    with pytest.raises(IntegrityError, match=words) as caught:
        check_leaks(cohort(), [planted], True, own)
    assert caught.value.exit_code == 3


def test_a_clean_fold_passes_and_a_leaky_protocol_may_share_a_patient(own):
    check_leaks(cohort(), [fold(["A1", "A2"], ["B1"], ["C1"])], True, own)
    check_leaks(cohort(), [fold(["A1"], ["B1"], ["A2"])], False, own)
    check_leaks(cohort(), [fold([("B1", "near")], [("B1", "far")], ["A1"])], True, own)


def test_a_checkerboard_is_clean_until_a_spot_stands_on_two_of_its_sides(own):
    sides = fold([("A1", "kept")], [("A1", "chosen")], [("A1", "held")])
    check_leaks(cohort(), [sides], False, own)
    doubled = values(40)
    doubled[1:20:2] = doubled[0:20:2]  # neighbours along x: one of each pair is held out
    data = cohort(A1=doubled, copy=values(seed=5))
    with pytest.raises(IntegrityError, match="the held part of A1 \\(test\\) and the kept part of A1 \\(train\\)"):
        check_leaks(data, [sides], False, ArrayCache(own.root / "doubled"))


def test_sections_of_one_patient_may_share_spots_on_one_side_only(own):
    twice = cohort(A2=values(seed=0)[::-1])
    both = Overlap(Part("A1"), Part("A2"), 40, 40)
    assert check_leaks(twice, [fold(["A1", "A2"], ["B1"], ["C1"])], True, own) == (both,)
    with pytest.raises(IntegrityError, match="A1 \\(train\\) and A2 \\(test\\) hold the same spots: 40 of the 40"):
        check_leaks(twice, [fold(["A1"], ["B1"], ["A2"])], False, own)
    with pytest.raises(IntegrityError, match="A1 \\(train\\) and A2 \\(validation\\)"):
        check_leaks(twice, [fold(["A1"], ["A2"], ["B1"])], True, own)


def with_shared(n_shared, n, other=40):
    """A1 of `n` spots, of which the first `n_shared` stand, in another order, among the `other` spots of B1."""
    first, second = values(n), values(other, seed=9)
    second[other - n_shared :] = first[:n_shared][::-1]
    return cohort(A1=first, B1=second, copy=values(seed=5))


@pytest.mark.parametrize(
    ("n_shared", "n", "other", "leaks"),
    [(1, 40, 400, False), (2, 40, 400, True), (9, 200, 400, False), (10, 400, 400, True), (9, 400, 180, True)],
)
def test_ten_spots_or_a_twentieth_of_the_smaller_section_is_a_leak(n_shared, n, other, leaks, own):
    data, clean = with_shared(n_shared, n, other), fold(["A1", "A2"], ["C1"], ["B1"])
    (found,) = find_overlaps(data, clean.parts, own)
    assert found == Overlap(Part("A1"), Part("B1"), n_shared, min(n, other))
    if leaks:
        with pytest.raises(IntegrityError, match=f": {n_shared} of the {min(n, other)} compared in the smaller"):
            check_leaks(data, [clean], True, own)
    else:
        check_leaks(data, [clean], True, own)


def test_spots_below_twenty_umi_are_not_compared_but_one_section_twice_is_found(own):
    few = np.zeros((30, len(GENES)), np.int32)
    few[:, 0] = 19
    enough = few.copy()
    enough[:, 1] = 1
    clean = fold(["A1", "A2"], ["C1"], ["B1"])
    check_leaks(cohort(A1=np.vstack([few, values(5)]), B1=np.vstack([few, values(5, 6)])), [clean], True, own)
    mixed = cohort(A1=np.vstack([few, values(5)]), B1=np.vstack([enough, values(5)]))
    for info in mixed.sections:  # the same names of files as before, so another cache
        assert info.content == f"file of {info.id}"
    with pytest.raises(IntegrityError, match=": 5 of the 5"):
        check_leaks(mixed, [clean], True, ArrayCache(own.root / "mixed"))
    with pytest.raises(IntegrityError, match=": 30 of the 30"):
        check_leaks(cohort(A1=few, B1=few), [clean], True, ArrayCache(own.root / "few"))


def test_parts_of_one_section_count_as_sections(own):
    doubled = values(40)
    doubled[35:] = doubled[:5]
    split = fold([("B1", "near")], [("B1", "far")], ["A1"])
    data = cohort(B1=doubled, A1=values(seed=7))
    with pytest.raises(
        IntegrityError, match="far part of B1 \\(validation\\) and the near part of B1 \\(train\\)"
    ) as caught:
        check_leaks(data, [split], True, own)
    assert ": 5 of the 8 compared in the smaller one" in str(caught.value)
    check_leaks(data, [fold(["B1"], ["C1"], ["A1"])], True, own)


def test_shared_hashes_are_counted_as_a_loop_over_all_pairs_does():
    rng = np.random.default_rng(0)
    sections = [rng.integers(0, 60, size=n).astype(np.uint64) for n in (0, 1, 30, 50, 80, 40)]
    expected = {}
    for i, j in combinations(range(len(sections)), 2):
        shared = (Counter(sections[i].tolist()) & Counter(sections[j].tolist())).total()
        if shared:
            expected[i, j] = shared
    assert count_shared(sections) == expected
    assert len(expected) > 5
    assert count_shared([]) == {}
    assert count_shared([np.arange(3, dtype=np.uint64), np.arange(3, 6, dtype=np.uint64)]) == {}


def test_a_million_spots_are_compared_in_seconds():
    rng = np.random.default_rng(1)
    sections = [rng.integers(0, 2**63, size=5000).astype(np.uint64) for _ in range(200)]
    sections[150][:20] = sections[3][-20:]
    start = time.perf_counter()
    assert count_shared(sections) == {(3, 150): 20}
    assert time.perf_counter() - start < 15


def test_a_panel_chosen_on_more_than_the_training_side_is_stopped():
    clean = fold(["A1", "A2"], ["B1"], ["C1"])
    contents = {name: name.lower() for name in PATIENTS}

    def panel(source):
        return GenePanel(("G",), 1, ("G",), ("G",), {}, (), source)

    check_panel(clean, panel(training_source(clean, contents)), contents)
    with_validation = training_source(fold(["A1", "A2", "B1"], [], ["C1"]), contents)
    with pytest.raises(IntegrityError, match="gene panel"):
        check_panel(clean, panel(with_validation), contents)


def every_fold(data):
    patients = {info.id: info.patient for info in data.sections}
    protocol = Protocol(
        name="patient",
        title="",
        dataset=data.card.name,
        sections=tuple(patients),
        held_out="patient",
        unit="patient",
        images=False,
    )
    return make_folds(protocol, patients)


def test_the_demo_has_no_overlap(demo, cache):
    folds = every_fold(demo)
    check_leaks(demo, folds, True, cache)
    assert find_overlaps(demo, [part for fold in folds for part in fold.parts], cache) == ()


def test_real_sections_have_no_overlap(her2st, cache):
    folds = every_fold(her2st)
    check_leaks(her2st, folds, True, cache)
    assert find_overlaps(her2st, [part for fold in folds for part in fold.parts], cache) == ()

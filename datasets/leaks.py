"""The check that nothing leaks between the sides of a fold or between patients: by names, and by what the spots are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import IntegrityError
from .cache import ArrayCache
from .folds import BOARD, SIDES, Fold, Part, training_source
from .panel import GenePanel
from .registry import Dataset
from .same_patients import check_same_patients
from .spot_hashes import section_spots

MOST_SPOTS = 10  # two sections that share so many spots, or such a share of the smaller one's, are the same tissue
MOST_SHARE = 0.05


@dataclass(frozen=True)
class Overlap:
    """Two sections, or parts of one, that hold spots of equal counts.

    Attributes:
        shared: how many; a spot that stands twice in one of them and once in the other is shared once.
        smaller: compared spots of the one that has fewer.
    """

    first: Part
    second: Part
    shared: int
    smaller: int

    @property
    def too_large(self) -> bool:
        """Whether the two may stand neither on two sides of a fold nor under two patients."""
        return self.shared >= MOST_SPOTS or self.shared >= MOST_SHARE * self.smaller

    def said(self, first: str, second: str) -> str:
        """The finding in words; `first` and `second` say where the two stand."""
        return (
            f"{_named(self.first)} ({first}) and {_named(self.second)} ({second}) hold the same spots: {self.shared:,} of "
            f"the {self.smaller:,} compared in the smaller one have equal counts in both"
        )


def find_overlaps(dataset: Dataset, parts: Iterable[Part], cache: ArrayCache) -> tuple[Overlap, ...]:
    """All pairs of the parts that share a spot, those that share most first.

    Spots below 20 UMI are not compared, but two sections of equal parsed content share all their spots. The time is linear
    in the spots (and in the sections that hold the same one); what the spots of a section are is kept in the cache.

    Raises:
        ConfigurationError: an unknown section.
        DataError: damaged tables.
    """
    units = sorted(set(parts), key=lambda part: (part.section, part.portion))
    hashes, same = [], {}
    first_of: dict[tuple[str, str], int] = {}
    for i, part in enumerate(units):
        spots = section_spots(dataset, part.section, cache)
        rows = None if part.portion == "all" else part.rows(dataset.load(part.section).array_xy)
        here = slice(None) if rows is None else rows
        hashes.append(spots.hashes[here][spots.compared[here]])
        first = first_of.setdefault((spots.content, part.portion), i)
        if first != i:
            same[first, i] = len(spots.hashes[here])
    pairs = {pair: (n, min(len(hashes[i]) for i in pair)) for pair, n in count_shared(hashes).items()}
    pairs |= {pair: (n, n) for pair, n in same.items()}
    found = [Overlap(units[i], units[j], shared, smaller) for (i, j), (shared, smaller) in sorted(pairs.items())]
    return tuple(sorted(found, key=lambda overlap: -overlap.shared))


def count_shared(hashes: Sequence[NDArray[np.uint64]]) -> dict[tuple[int, int], int]:
    """How many hashes each two of the arrays share, by their numbers (i < j); pairs that share none are left out.

    Args:
        hashes: uint64 (n_i,) of each section; a hash may stand in an array more than once.
    """
    unit = np.repeat(np.arange(len(hashes)), [len(values) for values in hashes])
    value = np.concatenate([np.zeros(0, np.uint64), *hashes])
    order = np.lexsort((unit, value))
    unit, value = unit[order], value[order]
    # Its first, second, ... appearance in an array: the k-th here is shared with the k-th there.
    run = np.ones(len(value), dtype=bool)
    run[1:] = (value[1:] != value[:-1]) | (unit[1:] != unit[:-1])
    starts = np.flatnonzero(run)
    appearance = np.arange(len(value)) - np.repeat(starts, np.diff(np.append(starts, len(value))))
    again = np.lexsort((appearance, value))
    unit, value, appearance = unit[again], value[again], appearance[again]
    new = np.ones(len(value), dtype=bool)
    new[1:] = (value[1:] != value[:-1]) | (appearance[1:] != appearance[:-1])
    key = np.cumsum(new) - 1
    shared = np.bincount(key)[key] > 1  # most spots stand in one section only
    unit, key = unit[shared], np.unique(key[shared], return_inverse=True)[1]
    holds = sparse.csr_matrix((np.ones(len(unit), np.int64), (unit, key)), shape=(len(hashes), key.max(initial=-1) + 1))
    both = sparse.triu(holds @ holds.T, k=1).tocoo()
    return {(int(i), int(j)): int(n) for i, j, n in zip(both.row, both.col, both.data, strict=True)}


def check_leaks(dataset: Dataset, folds: Sequence[Fold], by_patient: bool, cache: ArrayCache) -> tuple[Overlap, ...]:
    """Stop the run on a leak; returns the sections of one patient that share their spots and stand on one side.

    Args:
        dataset: whose sections the folds are made of; its spots are compared by their counts.
        folds: all of the protocol's.
        by_patient: whether the protocol promises that no patient stands on two sides.
        cache: where the hashes of the spots are kept.

    Raises:
        IntegrityError: a spot or a patient on two sides of a fold, or the same spots under two patients.
    """
    patients = {info.id: info.patient for info in dataset.sections}
    for fold in folds:
        _check_names(fold, patients, by_patient)
        check_same_patients(fold, patients)
    parts = [part for fold in folds for part in fold.parts]
    overlaps = [overlap for overlap in find_overlaps(dataset, parts, cache) if overlap.too_large]
    for problem in under_two_patients(overlaps, patients):
        raise IntegrityError(f"{problem}; remove one of the two, or name one patient for both.")
    for fold in folds:
        side_of = {part: side for side in SIDES for part in getattr(fold, side)}
        for overlap in overlaps:
            first, second = side_of.get(overlap.first), side_of.get(overlap.second)
            if first is not None and second is not None and first != second:
                raise IntegrityError(f"Fold {fold.name} leaks: {overlap.said(first, second)}; remove one of the two.")
    return tuple(overlap for overlap in overlaps if overlap.first.section != overlap.second.section)


def under_two_patients(overlaps: Iterable[Overlap], patients: Mapping[str, str]) -> list[str]:
    """Findings, in words, of sections that share their spots and not their patient."""
    return [
        overlap.said(*(f"patient {patients[part.section]}" for part in (overlap.first, overlap.second)))
        for overlap in overlaps
        if overlap.too_large and patients[overlap.first.section] != patients[overlap.second.section]
    ]


def one_patient_notes(overlaps: Iterable[Overlap], patients: Mapping[str, str]) -> list[str]:
    """Sentences on sections of one patient that share their spots."""
    return [
        f"{overlap.said(f'patient {patients[overlap.first.section]}', 'the same patient')}; a fold that parts the two is refused."
        for overlap in overlaps
        if overlap.too_large and patients[overlap.first.section] == patients[overlap.second.section]
    ]


def check_panel(
    fold: Fold, panel: GenePanel, contents: Mapping[str, str], given: tuple[str, ...] | None = None
) -> None:
    """Stop at a gene panel that other spots than the fold's training spots chose; `contents`: section -> hash of its data.

    `given` are the genes of a protocol that fixes them, which no spot of the fold may change.

    Raises:
        IntegrityError: it is of another source.
    """
    if panel.genes != given if given is not None else panel.source != training_source(fold, contents):
        raise IntegrityError(
            f"Fold {fold.name} leaks: its gene panel was not chosen on its training spots alone; "
            "let qbench choose it (remove the cached panel with 'qbench cache gc')."
        )


def _check_names(fold: Fold, patients: Mapping[str, str], by_patient: bool) -> None:
    places = [(part, side) for side in SIDES for part in getattr(fold, side)]
    for part, times in Counter(part for part, _ in places).items():
        if times > 1:
            where = " and ".join(side for other, side in places if other == part)
            raise IntegrityError(
                f"Fold {fold.name} leaks: {where} hold the same spots, those of {_named(part)}; mend the protocol."
            )
    whole = {part.section for part, _ in places if part.portion == "all"}
    for part, side in places:
        if part.portion != "all" and part.section in whole:
            raise IntegrityError(
                f"Fold {fold.name} leaks: spots of {part.section} ({side}) stand on two sides; mend the protocol."
            )
        boards = {other.portion in BOARD for other, _ in places if other.section == part.section}
        if len(boards) > 1:
            raise IntegrityError(
                f"Fold {fold.name} leaks: {part.section} is split in two ways that share spots; mend the protocol."
            )
        if part.portion not in ("all", *BOARD) and side == "test":
            raise IntegrityError(
                f"Fold {fold.name} leaks: a section is split between test and another side; mend the protocol."
            )
    if by_patient:
        tested = {patients[part.section] for part in fold.test}
        for part in (*fold.train, *fold.validation):
            if patients[part.section] in tested:
                raise IntegrityError(
                    f"Fold {fold.name} leaks: patient {patients[part.section]} stands in test and in training; mend the "
                    "protocol, or mark it leaky by holding out sections."
                )


def _named(part: Part) -> str:
    return part.section if part.portion == "all" else f"the {part.portion} part of {part.section}"

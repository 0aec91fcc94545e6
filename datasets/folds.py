"""Folds of a protocol on the sections at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, DataError, IntegrityError
from ..names import UNNAMED
from .hashing import canonical_hash
from .protocol import VALIDATION_SHARE, Protocol

Portion = Literal["all", "near", "far", "kept", "chosen", "held"]
BOARD: tuple[Portion, ...] = ("kept", "chosen", "held")  # the sides of a checkerboard, as train, validation and test
FIFTH = 5  # every fifth of the spots that are not held out validates


@dataclass(frozen=True)
class Part:
    """Spots of a section on one side of a fold.

    All, or those nearest to ("near") or farthest along ("far") its fitted array's x, or of a checkerboard on it the squares that
    are held out ("held"), and of the others every fifth ("chosen") and the rest ("kept").
    """

    section: str
    portion: Portion = "all"

    def rows(self, array_xy: NDArray[np.float64]) -> NDArray[np.intp] | None:
        """Row numbers of the part in its section, or None for all.

        "far" is the 20 % of spots (rounded, at least one) with the largest x, ties by y, then by row; "near" the rest.
        "held" is the second half of the spots (rounded down) in the order: rounded x + y even before odd, then y, then x; where
        there are more squares of one colour, some of them go to the other's. Every fifth of the first half is "chosen".
        `array_xy` is a section's own: the fitted array grid that coordinates and position embeddings read.
        """
        if self.portion == "all":
            return None
        n = len(array_xy)
        if self.portion in BOARD:
            return self._board(array_xy)
        order = np.lexsort((np.arange(n), array_xy[:, 1], array_xy[:, 0]))
        near = n - _far(n)
        return np.sort(order[:near] if self.portion == "near" else order[near:])

    def count(self, n: int) -> int:
        """Number of spots of the part in a section of n spots."""
        if self.portion in BOARD:
            held, chosen = n // 2, (n - n // 2) // FIFTH
            return {"held": held, "chosen": chosen}.get(self.portion, n - held - chosen)
        return n if self.portion == "all" else _far(n) if self.portion == "far" else n - _far(n)

    def _board(self, array_xy: NDArray[np.float64]) -> NDArray[np.intp]:
        n = len(array_xy)
        if n < 2 * FIFTH:
            raise DataError(
                f"Section {self.section}: expected at least {2 * FIFTH} spots, to hold out half of them and choose on a fifth of "
                f"the others, found {n}; leave it out."
            )
        x, y = np.rint(array_xy).astype(np.int64).T
        order = np.lexsort((np.arange(n), x, y, (x + y) % 2))  # even squares first
        others, held = np.split(order, [n - n // 2])
        chosen = np.arange(len(others)) % FIFTH == FIFTH - 1
        return np.sort({"held": held, "chosen": others[chosen], "kept": others[~chosen]}[self.portion])


def _far(n: int) -> int:
    return max(1, round(VALIDATION_SHARE * n))


@dataclass(frozen=True)
class Fold:
    """One fold: its sides as parts of sections, and how validation was chosen."""

    name: str
    train: tuple[Part, ...]
    validation: tuple[Part, ...]
    test: tuple[Part, ...]
    rule: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those of all sides."""
        return (*self.train, *self.validation, *self.test)

    @property
    def hash(self) -> str:
        """Hash of which sections, or parts of them, stand on which side; names of folds do not count."""
        return canonical_hash({side: [(p.section, p.portion) for p in getattr(self, side)] for side in SIDES})


SIDES = ("train", "validation", "test")


def make_folds(protocol: Protocol, patients: Mapping[str, str]) -> tuple[Fold, ...]:
    """The folds of a protocol; `patients` maps each of its sections to its patient.

    Raises:
        ConfigurationError: fewer than two patients for `patient`, fewer than two sections, or ids that no section has.
        IntegrityError: a protocol by patient on sections whose patients are not named.
    """
    sections = sorted(protocol.sections)
    owner = {section: patients[section] for section in sections}
    unnamed = [section for section in sections if owner[section] == UNNAMED]
    if unnamed and protocol.unit == "patient":
        raise IntegrityError(
            f"Protocol '{protocol.name}' promises that no patient stands on two sides, but no patient is named for "
            f"{', '.join(unnamed)}; name the patients in the dataset's card, or use --protocol section --allow-leaky."
        )
    if protocol.folds is not None:
        return _listed_folds(protocol, sections, owner)
    if protocol.unit == "spot":
        return tuple(_board_fold(section) for section in sections)
    if protocol.unit == "patient":
        everyone = sorted(set(owner.values()))
        if len(everyone) < 2:
            raise ConfigurationError(
                f"Protocol '{protocol.name}' holds out one patient at a time and needs at least two, found "
                f"{len(everyone)} ({', '.join(everyone) or 'none'}) in sections {', '.join(sections) or 'none'}; "
                "add sections of another patient, or use --protocol section --allow-leaky."
            )
        return tuple(_patient_fold(patient, everyone, sections, owner) for patient in everyone)
    if len(sections) < 2:
        raise ConfigurationError(
            f"Protocol '{protocol.name}' holds out one section at a time and needs at least two, found {len(sections)}; "
            "add sections."
        )
    return tuple(_section_fold(section, sections, owner) for section in sections)


def _patient_fold(patient: str, everyone: Sequence[str], sections: Sequence[str], owner: Mapping[str, str]) -> Fold:
    test = [s for s in sections if owner[s] == patient]
    rest = [s for s in sections if owner[s] != patient]
    if len(everyone) >= 4:  # three or more training patients
        chosen = everyone[(everyone.index(patient) + 1) % len(everyone)]
        return _fold(
            patient, rest, [s for s in rest if owner[s] == chosen], test, f"patient {chosen}, next in cyclic order"
        )
    return _last_section(patient, rest, test)


def _section_fold(section: str, sections: Sequence[str], owner: Mapping[str, str]) -> Fold:
    rest = [s for s in sections if s != section]
    same = [s for s in rest if owner[s] == owner[section]]
    if same:
        chosen = next((s for s in same if s > section), same[0])
        if len(rest) > 1:
            return _fold(section, rest, [chosen], [section], f"section {chosen}, next of the test patient")
    return _last_section(section, rest, [section])


def _board_fold(section: str) -> Fold:
    train, validation, test = ((Part(section, portion),) for portion in BOARD)
    return Fold(section, train, validation, test, f"every fifth spot of {section} that is not held out")


def _last_section(name: str, rest: Sequence[str], test: Sequence[str]) -> Fold:
    """Validation by the last of the training sections, or by a fifth of the spots of the only one."""
    if len(rest) >= 2:
        return _fold(name, rest, [rest[-1]], test, f"section {rest[-1]}, last by id")
    return Fold(
        name=name,
        train=(Part(rest[0], "near"),),
        validation=(Part(rest[0], "far"),),
        test=tuple(Part(s) for s in test),
        rule=f"20 % of the spots of {rest[0]} with the largest x on its fitted array",
    )


def _fold(name: str, rest: Iterable[str], validation: Sequence[str], test: Iterable[str], rule: str) -> Fold:
    return Fold(
        name=name,
        train=tuple(Part(s) for s in rest if s not in set(validation)),
        validation=tuple(Part(s) for s in validation),
        test=tuple(Part(s) for s in test),
        rule=rule,
    )


def _listed_folds(protocol: Protocol, sections: Sequence[str], owner: Mapping[str, str]) -> tuple[Fold, ...]:
    def expand(ids: Iterable[str]) -> list[str]:
        wanted = set(ids)
        return [s for s in sections if (owner[s] if protocol.unit == "patient" else s) in wanted]

    folds = []
    for group in protocol.folds or ():
        test = expand(group.test)
        rest = [s for s in sections if s not in set(test)]
        validation = expand(group.validation or ())
        if not test or len(rest) == len(validation):
            continue
        if validation:
            folds.append(_fold(group.name, rest, validation, test, f"listed: {', '.join(group.validation or ())}"))
        elif protocol.held_out == "splits":
            folds.append(_fold(group.name, rest, (), test, "none, as in the benchmark"))
        else:
            folds.append(_last_section(group.name, rest, test))
    if not folds:
        raise ConfigurationError(
            f"Protocol '{protocol.name}' lists {', '.join(i for g in protocol.folds or () for i in g.test)} as held out, but the "
            f"sections at hand are {', '.join(sections)}; add the missing ones, or use another protocol."
        )
    return tuple(folds)


def last_of_three(patients: Iterable[str]) -> str | None:
    """Who validates where nobody of a dataset is held out: of three or more patients the last by id, else nobody."""
    everyone = sorted(set(patients))
    return everyone[-1] if len(everyone) >= 3 else None


def shares_patient(fold: Fold, patients: Mapping[str, str]) -> bool:
    """Whether a patient stands on both the test side and a side that is learned from."""
    learned = {patients[p.section] for p in (*fold.train, *fold.validation)}
    return any(patients[p.section] in learned for p in fold.test)


def is_leaky(folds: Iterable[Fold], patients: Mapping[str, str]) -> bool:
    """Whether in any fold a patient stands on the test side and on a side that is learned from."""
    return any(shares_patient(fold, patients) for fold in folds)


def training_source(fold: Fold, contents: Mapping[str, str]) -> str:
    """Hash of exactly the spots that a panel of this fold may be chosen on."""
    return canonical_hash(sorted((contents[p.section], p.portion) for p in fold.train))

"""Patients whom two public datasets hold under different names: their counts differ in form, so names must tell."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import IntegrityError
from .folds import SIDES, Fold
from .registry import DATASETS, card


def check_same_patients(fold: Fold, patients: Mapping[str, str]) -> None:
    """Stop where a patient of one public dataset is tested and the same person, as another one names them, is not.

    `patients` is the patient of each section. The names of both datasets must be there, as in a card of one's own that
    lists the sections of both.

    Raises:
        IntegrityError: names the two and the card that says so.
    """
    sides: dict[str, set[str]] = {}
    for side in SIDES:
        for part in getattr(fold, side):
            sides.setdefault(patients[part.section], set()).add(side)
    for name in DATASETS.shipped:
        for pair in card(name).same_patients:
            for here in sorted(set(pair.here) & set(sides)):
                for there in sorted(set(pair.there) & set(sides)):
                    if ("test" in sides[here]) != ("test" in sides[there]):
                        raise IntegrityError(
                            f"Fold {fold.name} leaks: patient {here} ({_listed(sides[here])}) of {name} may be patient {there} "
                            f"({_listed(sides[there])}) of {pair.dataset}: {', '.join(pair.here)} of the one are "
                            f"{', '.join(pair.there)} of the other; remove the sections of one of the two."
                        )


def _listed(sides: set[str]) -> str:
    return " and ".join(sorted(sides))

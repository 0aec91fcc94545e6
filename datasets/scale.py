"""Microns per pixel: what a section's files state, what its array measures, and which of them is taken.

Facts. Spots of Visium lie 100 microns apart, centre to centre, in a hexagonal array (10x); those of Spatial Transcriptomics
200 microns in a square one (Stahl et al. 2016); bins of Visium HD `bin_size_um`. A Visium spot is 55 microns wide, but Space
Ranger writes the width of a theoretical spot of 65 into `spot_diameter_fullres`, and that of a fiducial spot of 105 into
`fiducial_diameter_fullres`: neither divided by 55 is the scale. Others write the true 55 (ST: 100).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DataError
from .lattice import Lattice

LEAST, MOST = 0.05, 5.0  # microns per pixel of any image that shows tissue at a use to these methods
AGREE = 0.02  # sources within this share of each other say the same
VISIUM, ST = 100.0, 200.0  # microns between neighbouring spots
ST_EDGE = 35  # rows and columns of a Spatial Transcriptomics array, at most
_SPOTS: dict[float | None, tuple[float, ...]] = {VISIUM: (65.0, 55.0), ST: (100.0,)}  # by pitch: what a width may mean
_ANY_SPOT = (65.0, 55.0, 100.0)


@dataclass(frozen=True)
class Stated:
    """One statement of a scale: microns per pixel, who says so, and why it would be believed before those after it.

    `others` are what it may mean instead, where its author's unit is one of several.
    """

    microns: float
    source: str
    why: str = ""
    others: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.source} says {' or '.join(f'{value:.4g}' for value in (self.microns, *self.others))}"

    def agrees(self, microns: float) -> bool:
        """Whether it may mean this scale, to 2 %."""
        return any(abs(one - microns) <= AGREE * max(one, microns) for one in (self.microns, *self.others))


def settle(where: str, stated: Sequence[Stated], firm: Stated | None = None) -> tuple[Stated | None, tuple[str, ...]]:
    """As `choose`; a DataError where what is taken is no scale of an image of tissue (0.05 to 5 microns per pixel)."""
    taken, notes = choose(stated, firm)
    if taken is not None:
        check_scale(where, taken)
    return taken, notes


def choose(stated: Sequence[Stated], firm: Stated | None = None) -> tuple[Stated | None, tuple[str, ...]]:
    """The statement that is taken, and a note that names those which disagree with it.

    A user's own statement (`firm`) wins; else, among three or more, what most agree on; else the first. Two agree where they
    differ by at most 2 %.
    """
    said = [*(() if firm is None else (firm,)), *stated]
    if not said:
        return None, ()
    electable = said if firm is None and len(said) > 2 else said[:1]
    meanings = [replace(one, microns=value, others=()) for one in electable for value in (one.microns, *one.others)]
    votes = [sum(other.agrees(one.microns) for other in said) for one in meanings]
    taken = meanings[votes.index(max(votes))]
    against = [one for one in said if not one.agrees(taken.microns)]
    if not against:
        return taken, ()
    by_votes = len(electable) > 1 and max(votes) > 1
    reason = f"{max(votes)} of {len(said)} agree on it" if by_votes else taken.why or "it comes first"
    return taken, (
        f"microns per pixel: {taken}, {', '.join(map(str, against))}; {taken.microns:.4g} is taken, because {reason}",
    )


def check_scale(where: str, stated: Stated) -> None:
    """Refuse what is no scale of an image of tissue.

    Raises:
        DataError: outside 0.05 to 5 microns per pixel, or not finite.
    """
    if not LEAST <= stated.microns <= MOST:
        raise DataError(
            f"{where}: expected {LEAST:g} to {MOST:g} microns per pixel, but {stated}; correct it, or state the image's own "
            "(microns_per_pixel in the card, --microns-per-pixel), or pixel_scale where coordinates are of a smaller image."
        )


def from_array(found: Lattice, microns: float | None = None) -> Stated | None:
    """The scale that an array's pitch gives, or None where its pitch in microns or in pixels is not known.

    `microns` is the pitch where the data state it. A square array without any statement is taken for Spatial
    Transcriptomics where it has at most 35 rows and columns, as those arrays do.
    """
    if found.pixels is None:
        return None
    kind = "hexagonal" if found.hexagonal else "square"
    if microns is None:
        if not found.hexagonal and found.edge > ST_EDGE:
            return None
        microns = VISIUM if found.hexagonal else ST
        if not found.hexagonal and not LEAST <= microns / found.pixels <= MOST:
            return None  # no such array: bins of a small piece, whose size nobody states
    skew = ", though its rows and columns do not fit one scale" if found.skewed else ""
    source = f"the {kind} array's pitch of {microns:g} microns{skew}"
    return Stated(microns / found.pixels, source, "it is measured on the spots themselves")


def statements(
    found: Lattice, factors: Mapping[str, Any], where: str, pitch: float | None = None
) -> tuple[Stated, ...]:
    """What an array and the scale factors beside it say, the array first unless its axes do not fit one scale.

    `pitch` in microns is that of the array where other data state it; `bin_size_um` of the factors is one.

    Raises:
        DataError: a factor that is no positive number.
    """
    microns = bin_microns(factors, where) or pitch
    array = from_array(found, microns)
    stated = from_factors(factors, VISIUM if found.hexagonal else microns or (ST if array else None), where)
    if array is None:
        return tuple(stated)
    return (*stated, array) if found.skewed else (array, *stated)


def from_factors(factors: Mapping[str, Any], pitch: float | None, where: str) -> list[Stated]:
    """What Space Ranger's scale factors state: `microns_per_pixel`, and the width of a spot or bin.

    Args:
        factors: of scalefactors_json.json or `uns["spatial"][library]["scalefactors"]`.
        pitch: of the array, in microns, where known: what a spot's width may mean depends on it.
        where: the file, for messages.

    Raises:
        DataError: a factor that is no positive number.
    """
    found = []
    why = "Space Ranger states it of these pixels"
    if (direct := _number(factors, "microns_per_pixel", where)) is not None:
        found.append(Stated(direct, "microns_per_pixel of the scale factors", why))
    width = _number(factors, "spot_diameter_fullres", where)
    if width is not None and width != 1:  # which stands for "unknown" where there are no spots
        size = bin_microns(factors, where)
        meant = _SPOTS.get(pitch, _ANY_SPOT) if size is None else (size,)
        what = "spot" if size is None else "bin"
        first, *others = (microns / width for microns in meant)
        source = f"spot_diameter_fullres (a {what} of {' or '.join(f'{microns:g}' for microns in meant)} microns)"
        stated = Stated(first, source, why, tuple(others))
        if direct is None or not stated.agrees(direct):  # one file has one voice, unless it contradicts itself
            found.append(stated)
    return found


def bin_microns(factors: Mapping[str, Any], where: str) -> float | None:
    """`bin_size_um` of Visium HD's scale factors, or None; a DataError where it is no positive number."""
    return _number(factors, "bin_size_um", where)


def _number(factors: Mapping[str, Any], name: str, where: str) -> float | None:
    if name not in factors:
        return None
    try:
        value = float(np.asarray(factors[name], dtype=np.float64))
    except (TypeError, ValueError):
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise DataError(
            f"{where}: expected a number above 0 for {name} of the scale factors, found {factors[name]!s:.40}; correct it."
        )
    return value

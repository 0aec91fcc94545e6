"""Positions of spots: all there, in pitches of their array, and on the image that they are said to belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..images import open_image
from ..section import Section
from ..tissue import overview
from .alignment import SURE, Alignment, Fit, better_orientation, better_scale, measure

CORNER = 0.4  # spots that all lie within this share of both edges, from the corner, look like those of a smaller image
FEW = 0.25  # share of the spots outside the image that are left out with a note; more of them are a mistake
MOST = 0.5  # share of the spots
BETTER = (0.1, 0.2)  # gain of overlap, and of the share on tissue where not most lie on glass, of a likely alignment
OVERVIEW = 750  # pixels of the longer edge: where spots lie needs no more
PATCH_FILE = ".h5"


def place_spots(section: Section, image: Path | None, checked: bool) -> Section:
    """Hold the spots against the image: its size, and where its tissue is. A few outside are left out, with a note.

    Args:
        section: as read, before anything was left out.
        image: its file; None where there is none, and nothing to hold the spots against.
        checked: the card states `pixel_scale`, so that spots on glass or in a corner are meant.

    Raises:
        DataError: no spots, positions that are not numbers, an image without coordinates, many spots outside it, or
            spots that another scale or orientation would put on its tissue.
    """
    where = f"Section {section.id}"
    if not section.n_spots:
        raise DataError(f"{where}: expected spots, found none; give a file that holds some.")
    if not section.genes:
        raise DataError(f"{where}: expected genes, found none; give a file that holds some.")
    check_positions(where, section.spots, section.array_xy, "array position")
    if section.pixel_xy is not None:
        check_positions(where, section.spots, section.pixel_xy, "position in pixels")
    if image is None or image.suffix.lower() == PATCH_FILE:
        return section
    if section.pixel_xy is None:
        raise DataError(
            f"{where} has an image but no coordinates in pixels; add spot centres (obsm['spatial'], or columns x and y)."
        )
    opened = open_image(image)
    size = np.array(opened.size, dtype=np.float64)
    outside = np.flatnonzero(((section.pixel_xy < 0) | (section.pixel_xy > size)).any(axis=1))
    few = len(outside) <= FEW * section.n_spots
    if few and checked:
        return _without(section, outside, image)
    small, xy = overview(opened, OVERVIEW), section.pixel_xy
    edge = pitch(xy) if len(xy) > 1 else float(size.max())
    fit = measure(xy, size, small, edge)
    corner = not len(outside) and float((xy.max(axis=0) / size).max()) < CORNER
    blank = not small.tissue.any()  # no tissue is told from glass, so nothing tells right from wrong
    if few and not corner and (blank or fit.on_tissue >= SURE):
        return _without(section, outside, image)
    found = better_orientation(xy, size, small, edge)
    if not _likely(found, fit, corner) and (len(outside) == 0 or len(outside) > MOST * section.n_spots):
        found = better_scale(xy, size, small, edge)
    if found is not None and _likely(found, fit, corner):
        raise DataError(
            f"{where}: expected coordinates in pixels of {image.name}, but {_fault(xy, size, outside, fit, corner)}; "
            f"{found.name} {found.fit.on_tissue:.0%} lie on its tissue: {found.advice}, or 'pixel_scale: 1' if they are right."
        )
    if corner and blank:
        raise DataError(
            f"{where}: expected coordinates in pixels of {image.name}, but {_fault(xy, size, outside, fit, corner)}, "
            "as those of a smaller version would; state the factor in the card ('pixel_scale: ...'), or 'pixel_scale: "
            "1' if they are right."
        )
    if not few:
        raise DataError(
            f"{where}: expected coordinates in pixels of {image.name}, but {_fault(xy, size, outside, fit, corner)} "
            f"({', '.join(section.spots[i] for i in outside[:3])}, ...), and no factor or turn puts them on its tissue; give "
            "the image that they were measured on."
        )
    note = f"{_fault(xy, size, outside, fit, False)}: do coordinates and image belong together?"
    return _without(section, outside, image, () if fit.on_tissue >= MOST else (note,))


def check_positions(where: str, spots: Sequence[str], xy: NDArray[np.float64], what: str) -> None:
    """Stop at positions that are not finite.

    Raises:
        DataError: names the first three of the spots.
    """
    lost = np.flatnonzero(~np.isfinite(xy).all(axis=1))
    if len(lost):
        raise DataError(
            f"{where}: {len(lost)} of {len(spots)} spots have no {what} ({_listed(spots, lost)}); add it, or remove these spots."
        )


def in_pitches(pixel_xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions in pitches, float64 (n, 2), from those in pixels."""
    return pixel_xy / pitch(pixel_xy) if len(pixel_xy) > 1 else np.zeros_like(pixel_xy)


def pitch(pixel_xy: NDArray[np.float64]) -> float:
    """Median distance of a spot to its nearest neighbour, in the unit of the coordinates; needs two spots."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(pixel_xy).query(pixel_xy, k=2)
    return float(np.median(distances[:, 1]))


def _likely(found: Alignment | None, stated: Fit, corner: bool) -> bool:
    """Whether another alignment is so much better that the stated one is a mistake."""
    if found is None:
        return False
    gain = found.fit.on_tissue - stated.on_tissue
    covers = found.fit.overlap >= stated.overlap + BETTER[0]
    return (covers and (corner or gain >= BETTER[1])) or (stated.on_tissue < MOST and gain >= 2 * BETTER[1])


def _fault(
    xy: NDArray[np.float64], size: NDArray[np.float64], outside: NDArray[np.intp], fit: Fit, corner: bool
) -> str:
    if corner or len(outside) > FEW * len(xy):
        least, most = xy.min(axis=0), xy.max(axis=0)
        spread = f"from ({least[0]:.0f}, {least[1]:.0f}) to ({most[0]:.0f}, {most[1]:.0f})"
        where = "all in one corner of" if corner else f"{len(outside)} of {len(xy)} outside"
        return f"its spots lie {spread}, {where} an image of {size[0]:.0f} x {size[1]:.0f} pixels"
    return f"{1 - fit.on_tissue:.0%} of its {len(xy)} spots lie on bare glass"


def _without(section: Section, outside: NDArray[np.intp], image: Path, notes: tuple[str, ...] = ()) -> Section:
    kept = np.setdiff1d(np.arange(section.n_spots), outside)
    if not len(outside):
        return section.rows(kept, notes)
    lie, are = ("spot lies", "is") if len(outside) == 1 else ("spots lie", "are")
    note = f"{len(outside)} {lie} outside {image.name} and {are} left out ({_listed(section.spots, outside)})"
    return section.rows(kept, (note, *notes))


def _listed(spots: Sequence[str], rows: NDArray[np.intp]) -> str:
    return ", ".join(spots[i] for i in rows[:3]) + (", ..." if len(rows) > 3 else "")

"""From coordinates as a format states them to pixels of the section's image, with the microns per pixel that hold for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..card_parts import SectionEntry
from ..images import open_image
from ..patch_file import SUFFIX
from ..scale import Stated, settle
from ..section import Section


def in_pixels_of(image: Path | None, section: Section, entry: SectionEntry) -> Section:
    """The section in pixels of its image: coordinates times `pixel_scale`, its scale settled between all who state one.

    Raises:
        DataError: see `settle`.
    """
    factor = 1.0 if entry.pixel_scale is None else entry.pixel_scale
    if image is not None and image.suffix.lower() == SUFFIX:
        stated, firm = section.scales, None  # ready-made patches have a scale of their own, whatever the slide's
    else:
        own = entry.microns_per_pixel
        stated = tuple(
            replace(each, microns=each.microns / factor, others=tuple(one / factor for one in each.others))
            for each in section.scales
        )
        firm = None if own is None else Stated(own, "the card", "you stated it")
        of_file = None if image is None else open_image(image).scale
        stated = stated if of_file is None else (*stated, of_file)
    taken, notes = settle(f"Section {section.id}", stated, firm)
    width = None if section.spot_diameter is None else section.spot_diameter * factor
    return replace(
        section,
        pixel_xy=None if section.pixel_xy is None else section.pixel_xy * factor,
        microns_per_pixel=None if taken is None else taken.microns,
        scales=() if taken is None else (taken,),
        spot_diameter=entry.spot_diameter or width,
        notes=(*section.notes, *notes),
    )

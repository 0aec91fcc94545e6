"""Which channels of a TIFF are red, green and blue, by its metadata."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

_NAMES = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
_COLOURS = (0xFF0000, 0x00FF00, 0x0000FF)
_UNNAMED = re.compile(r"(channel|ch|c)?[\s:_-]*\d*([:.]\d+)?", re.IGNORECASE)


def ome_pixels(xml: str, width: int, height: int, name: str) -> Any | None:
    """The element Pixels of the image of this size, the one of this name where several have it; None where none has.

    Raises:
        ValueError: no XML.
    """
    try:
        root = ET.fromstring(xml.encode())
    except ET.ParseError as error:
        raise ValueError(f"its OME metadata are no XML ({error})") from error
    found = []
    for image in root.iter():
        if _tag(image) != "Image":
            continue
        for pixels in image:
            size = (pixels.get("SizeX"), pixels.get("SizeY"))
            if _tag(pixels) == "Pixels" and size == (str(width), str(height)):
                found.append((image.get("Name") == name, pixels))
    return max(found, key=lambda each: each[0])[1] if found else None


def channel_order(pixels: Any | None, n: int) -> tuple[tuple[int, ...] | None, str]:
    """Where red, green and blue are among `n` grey channels, by their names or colours; or None, and what was found.

    Channels without either are taken in their order where there are three.
    """
    channels = [] if pixels is None else [each for each in pixels if _tag(each) == "Channel"]
    glowing = [each for each in channels if _fluoresces(each)]
    names = [(each.get("Name") or "").strip() for each in channels]
    said = ", ".join(name for name in names if name)
    if glowing:
        return None, f"fluorescence channels ({said or 'unnamed'})"
    if n == 1:
        return (0, 0, 0), ""
    named = [not _UNNAMED.fullmatch(name) for name in names]
    if len(channels) == n and any(named):
        lower = [name.lower() for name in names]
        places = [[i for i, name in enumerate(lower) if name in known] for known in _NAMES]
        if all(len(place) == 1 for place in places):
            return tuple(place[0] for place in places), ""
        return None, f"{n} channels named {said}, as of fluorescence"
    colours = [_colour(each) for each in channels]
    if len(channels) == n and set(_COLOURS) <= set(colours):
        return tuple(colours.index(colour) for colour in _COLOURS), ""
    if n == 3:
        return (0, 1, 2), ""
    return None, f"{n} grey channels that nothing names as red, green and blue, as of fluorescence"


def _fluoresces(channel: Any) -> bool:
    how = f"{channel.get('ContrastMethod', '')} {channel.get('IlluminationType', '')}"
    return "fluorescence" in how.lower() or any(channel.get(key) for key in ("Fluor", "EmissionWavelength"))


def _colour(channel: Any) -> int | None:
    """0xRRGGBB; OME writes RGBA as a signed number."""
    try:
        return (int(channel.get("Color", "")) & 0xFFFFFFFF) >> 8
    except ValueError:
        return None


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]

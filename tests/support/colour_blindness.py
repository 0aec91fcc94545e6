"""How colours look to people with two kinds of cones, and how far apart they then are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]

# Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, table 1 at severity 1: of linear sRGB.
SEEN: dict[str, Colours] = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# Linear sRGB to XYZ over the white of D65 (IEC 61966-2-1).
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)


def rgb(hexes: list[str]) -> Colours:
    """sRGB in 0..1, a row a colour, of "0072b2" or "#0072B2"."""
    return np.array([[int(text.lstrip("#")[i : i + 2], 16) / 255 for i in (0, 2, 4)] for text in hexes])


def lab(colours: Colours, who: str) -> Colours:
    """CIE L*a*b* of sRGB colours (n, 3) as somebody in `SEEN` sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ SEEN[who].T, 0, 1) @ _XYZ.T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def apart(found: Colours) -> Colours:
    """Difference (CIE 1976) of each pair of L*a*b* colours (n, 3), as a matrix."""
    return np.sqrt(((found[:, None] - found[None]) ** 2).sum(axis=2))

"""Patches as the published section methods read them: the middle, transposed, 0..255."""

from __future__ import annotations

from torch import Tensor


def middle_pixels(patches: Tensor, size: int) -> Tensor:
    """The middle `size` pixels of uint8 patches (n, h, w, 3), uint8 (n, 3, size, size), its last axes image x and y."""
    top, left = (patches.shape[1] - size) // 2, (patches.shape[2] - size) // 2
    return patches[:, top : top + size, left : left + size].permute(0, 3, 2, 1)

"""The encoder "rgb": six numbers a patch, without a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def encode_rgb(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of R, G, B and population standard deviation of R, G, B, of values in 0..1.

    Args:
        patches: uint8 (n, h, w, 3).

    Returns:
        float32 (n, 6), from exact integer sums.
    """
    n, height, width, _ = patches.shape
    flat = np.ascontiguousarray(patches).reshape(n, height * width, 3)
    total = flat.sum(axis=1, dtype=np.uint64).astype(np.float64)
    squares = np.square(flat, dtype=np.uint16).sum(axis=1, dtype=np.uint64).astype(np.float64)
    pixels = float(height * width)
    mean = total / pixels
    variance = np.maximum(squares / pixels - mean * mean, 0.0)
    return np.concatenate([mean, np.sqrt(variance)], axis=1).astype(np.float32) / np.float32(255.0)

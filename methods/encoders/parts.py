"""Features of a section of many patches, a part at a time, so that a kill costs a part and not the section."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.entry import EntryWriter

PART = 2048  # patches that a kill may cost; a multiple of every runtime's batch


def encode_parts(
    out: NDArray[np.float32],
    encode: Callable[[NDArray[np.float32], slice], None],
    key: str,
    cache: ArrayCache,
) -> list[str]:
    """Fill `out` (n, d), PART patches at a time; each is kept, so that what a killed process had done is taken up.

    Returns:
        The keys of the parts, which are of no use once the whole is stored; none for a section of few patches.
    """
    if len(out) <= PART:
        encode(out, slice(None))
        return []
    keys = []
    for start in range(0, len(out), PART):
        rows = slice(start, min(start + PART, len(out)))

        def build(writer: EntryWriter, rows: slice = rows) -> None:
            encode(writer.array("features", (rows.stop - rows.start, out.shape[1]), np.float32), rows)

        keys.append(f"{key}-{start}")
        out[rows] = cache.get("feature-parts", keys[-1], build).arrays["features"]
    return keys

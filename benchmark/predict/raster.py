"""A map finer than spots as a multi-channel OME-TIFF: a channel a gene, a pixel a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import written
from ..engine.store import unwritable
from .grid import Points
from .parts import Parts

HELD = 64_000_000  # values of the channels that are filled at once: 256 MB


def write_raster(
    output: Path,
    parts: Parts,
    points: Points,
    size: tuple[int, int],
    panel: Sequence[str],
    genes: Sequence[str],
    microns_per_pixel: float | None,
) -> None:
    """Write log1p values, float32, NaN where no point is; the file states the channels' genes and, where known, the scale.

    Args:
        output: the file to write, whole or not at all.
        parts: the predictions of all windows; removed in the end.
        points: of a square grid over the whole slide.
        size: of the slide, (width, height) in pixels.
        panel: genes of the predictions' columns.
        genes: of the channels, in order.
        microns_per_pixel: of the slide.

    Raises:
        QbenchError: the file cannot be written.
    """
    import tifffile

    width, height = (len(np.arange(points.step / 2, length, points.step)) for length in size)
    about: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": list(genes)}}
    if microns_per_pixel is not None:
        for axis in "XY":
            about |= {f"PhysicalSize{axis}": points.step * microns_per_pixel, f"PhysicalSize{axis}Unit": "µm"}
    columns = [list(panel).index(gene) for gene in genes]
    try:
        with written(output) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=True) as file:
            file.write(
                _channels(parts, points, columns, (height, width)),
                shape=(len(genes), height, width),
                dtype=np.float32,
                photometric="minisblack",
                compression="zlib",
                metadata=about,
            )
    except OSError as error:
        raise unwritable(output, error) from error
    parts.remove()


def _channels(
    parts: Parts, points: Points, columns: Sequence[int], shape: tuple[int, int]
) -> Iterator[NDArray[np.float32]]:
    """Each gene's picture in turn; some are filled together, so that few passes over the windows do."""
    place = np.rint(points.pixel_xy / points.step - 0.5).astype(np.intp)
    together = max(1, HELD // (shape[0] * shape[1]))
    for start in range(0, len(columns), together):
        some = list(columns[start : start + together])
        block = np.full((len(some), *shape), np.nan, dtype=np.float32)
        for number in range(int(points.windows.max()) + 1):
            rows = points.rows(number)
            block[:, place[rows, 1], place[rows, 0]] = parts.load(number)[:, some].T
        yield from block

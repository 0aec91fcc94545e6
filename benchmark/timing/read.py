"""Reading a section: its image cut into patches, and its table of counts, against pillow and pandas."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.count_table import read_count_table
from ...datasets.images import open_image
from .measure import Row, alternate, less, rate

EDGE, SPOTS, WINDOW = 6_000, 300, 224
TABLE = (300, 15_000)  # spots x genes, as a section of HER2ST


def rows() -> list[Row]:
    """Seconds for one simulated section's image with its patches, and for its table."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_image(Path(folder)), *_table(Path(folder))]


def write_jpeg(path: Path) -> int:
    """Write a square image of coloured tiles; returns its edge in pixels."""
    import simplejpeg

    coarse = np.random.default_rng(0).normal(180, 40, (EDGE // 20, EDGE // 20, 3)).clip(0, 255).astype(np.uint8)
    pixels = np.ascontiguousarray(np.repeat(np.repeat(coarse, 20, axis=0), 20, axis=1))
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorspace="RGB"))
    return EDGE


def _image(folder: Path) -> list[Row]:
    from PIL import Image

    path = folder / "section.jpg"
    write_jpeg(path)
    corners = np.random.default_rng(0).integers(0, EDGE - WINDOW, (SPOTS, 2)).tolist()

    def ours() -> NDArray[np.uint8]:
        image = open_image(path)
        return np.stack([image.read(x, y, WINDOW, WINDOW) for x, y in corners])

    def plain() -> NDArray[np.uint8]:
        with Image.open(path) as image:
            whole = image.convert("RGB")
        return np.stack([np.asarray(whole.crop((x, y, x + WINDOW, y + WINDOW))) for x, y in corners])

    _same(ours(), plain())
    times = alternate(ours, plain)
    return [
        rate(f"read: jpeg of {EDGE} x {EDGE} px and {SPOTS} patches", "sections/s", 1, times.ours, times.plain),
        less("read: image, peak memory", "MB", times.ours_mb, times.plain_mb),
    ]


def _table(folder: Path) -> list[Row]:
    import pandas as pd

    spots, genes = TABLE
    counts = np.random.default_rng(1).poisson(0.3, TABLE)
    head = "\t".join(["", *(f"G{i}" for i in range(genes))])
    lines = [head, *("\t".join([f"{i}x{i}", *map(str, row)]) for i, row in enumerate(counts.tolist()))]
    path = folder / "section.tsv.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=6))

    def plain() -> NDArray[np.int64]:
        counts: NDArray[np.int64] = pd.read_csv(path, sep="\t", index_col=0).to_numpy()
        return counts

    if not np.array_equal(read_count_table(path).counts.toarray(), plain()):
        raise AssertionError("the two sides of the benchmark do not agree")
    times = alternate(lambda: read_count_table(path), plain)
    return [rate(f"read: table of {spots} spots x {genes:,} genes, checked", "sections/s", 1, times.ours, times.plain)]


def _same(ours: NDArray[np.uint8], plain: NDArray[np.uint8]) -> None:
    # Decoders may round the inverse transform differently by one.
    if np.abs(ours.astype(np.int16) - plain.astype(np.int16)).max() > 2:
        raise AssertionError("the two sides of the benchmark do not agree")

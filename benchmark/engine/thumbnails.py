"""Small pictures of the sections in a leaderboard, for the page."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from ...datasets.cache import ArrayCache
from ...datasets.images import open_image
from ...datasets.registry import open_dataset
from ...datasets.tissue import overview
from ...errors import ConfigurationError, DataError
from ...leaderboard.page_maps import Thumbnail
from ...leaderboard.table import Table

EDGE = 720  # pixels; five sections take about 0.4 MB
QUALITY = 72  # of the JPEG


def make_thumbnails(
    tables: Iterable[Table], data_dir: Path | None, cards: dict[str, str]
) -> tuple[dict[tuple[str, str], Thumbnail], list[str]]:
    """Thumbnails of the tables' sections by (dataset, section), and notes on datasets whose images are not at hand.

    `cards` maps a dataset's name to the card's file where it is not one of qbench's own.
    """
    wanted: dict[str, set[str]] = {}
    for table in tables:
        if table.protocol.images:
            wanted.setdefault(table.protocol.tested, set()).update(table.protocol.sections)
    found: dict[tuple[str, str], Thumbnail] = {}
    notes = []
    for name, sections in wanted.items():
        try:
            dataset = open_dataset(cards.get(name, name), data_dir, ArrayCache())
        except (ConfigurationError, DataError) as error:
            notes.append(f"No pictures of {name}: {error}")
            continue
        for info in dataset.sections:
            if info.id in sections and info.image is not None:
                found[name, info.id] = thumbnail(info.image)
    return found, notes


def thumbnail(path: Path) -> Thumbnail:
    """A JPEG of at most `EDGE` pixels a side."""
    from PIL import Image

    image = open_image(path)
    small = Image.fromarray(overview(image).pixels)
    small.thumbnail((EDGE, EDGE))
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=QUALITY)
    return Thumbnail(data.getvalue(), "image/jpeg", *image.size)

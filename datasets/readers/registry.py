"""Readers by name: what a card may say of the form of its files."""

from __future__ import annotations

from ...registries import Registry

# A reader is called with (card, data_dir, cache) and returns a `Dataset`.
READERS = Registry(
    "reader",
    "qbench.readers",
    {
        "h5ad": "qbench.datasets.readers.h5ad:open_h5ad",
        "hest": "qbench.datasets.readers.hest:open_hest",
        "hest-bench": "qbench.datasets.public.hest_bench:open_task",
        "spatialdata": "qbench.datasets.readers.stores:open_stores",
        "tables": "qbench.datasets.readers.tables:open_tables",
        "visium": "qbench.datasets.readers.visium:open_visium",
        "her2st": "qbench.datasets.her2st:open_her2st",
        "stnet": "qbench.datasets.public.stnet:open_stnet",
        "cscc": "qbench.datasets.public.cscc:open_cscc",
        "demo": "qbench.datasets.demo:open_demo",
        "demo-shifted": "qbench.datasets.demo:open_shifted",
    },
)

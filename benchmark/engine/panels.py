"""The gene panel of a fold, chosen once on its training side and kept in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...datasets import panel as panels
from ...datasets.cache import ArrayCache
from ...datasets.entry import EntryWriter
from ...datasets.folds import Fold, training_source
from ...datasets.hashing import canonical_hash
from ...datasets.panel import GenePanel, choose_panel, given_panel
from ...datasets.protocol import TRANSFER_VERSION
from ...datasets.registry import Dataset
from ...datasets.spot_hashes import section_spots


def open_panel(dataset: Dataset, fold: Fold, cache: ArrayCache, given: tuple[str, ...] | None = None) -> GenePanel:
    """The panel of a fold: the given genes of a protocol that fixes them, else chosen on the training spots alone, once.

    Where another dataset is tested, of the genes that its sections in the fold have, too; nothing else of them is looked at.
    """
    contents = {part.section: section_spots(dataset, part.section, cache).content for part in fold.train}
    source = training_source(fold, contents)
    markers = {group: tuple(genes) for group, genes in dataset.card.markers.items()}
    if given is not None:
        return given_panel(given, markers)
    rule = [panels.PANEL_VERSION, panels.PANEL_SIZE, panels.HEADLINE, [[k, *v] for k, v in markers.items()]]
    within = _genes_of(dataset, fold)
    common = {} if within is None else {"within": [TRANSFER_VERSION, sorted(within)]}
    key = canonical_hash({"rule": rule, "source": source, **common})

    def build(entry: EntryWriter) -> None:
        loaded = ((dataset.load(part.section), part) for part in fold.train)
        training = ((section, part.rows(section.array_xy)) for section, part in loaded)
        panel = choose_panel(training, markers, source, panels.PANEL_SIZE, within)
        entry.metadata["panel"] = {
            "genes": panel.genes,
            "n_ranked": panel.n_ranked,
            "hvg": panel.hvg,
            "heg": panel.heg,
            "markers": panel.markers,
            "missing": panel.missing,
            "source": panel.source,
        }
        entry.array("ranked", (len(panel.genes),), np.bool_)[:] = panel.ranked

    stored: dict[str, Any] = cache.get("panels", key, build).metadata["panel"]
    return GenePanel(
        genes=tuple(stored["genes"]),
        n_ranked=stored["n_ranked"],
        hvg=tuple(stored["hvg"]),
        heg=tuple(stored["heg"]),
        markers={group: tuple(genes) for group, genes in stored["markers"].items()},
        missing=tuple(stored["missing"]),
        source=stored["source"],
    )


def _genes_of(dataset: Dataset, fold: Fold) -> set[str] | None:
    """The genes that all sections of the tested dataset have; None where no other dataset is tested."""
    others = set() if dataset.tested is None else {info.id for info in dataset.tested.sections}
    found = [set(dataset.load(part.section).genes) for part in fold.test if part.section in others]
    return set.intersection(*found) if found else None

"""A stored cell's result, rebuilt and scored again from its predictions and their truth alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import SealedSection
from ...datasets.panel import GenePanel
from ...datasets.registry import card
from ...errors import ConfigurationError
from ...leaderboard.ceiling import truth_counts
from ...leaderboard.record import Record
from ...leaderboard.stored import StoredPredictions
from ..scoring.plugin_metrics import metrics
from .result import CellResult, SectionResult
from .split_check import read_held


@dataclass(frozen=True)
class _StoredTruth:
    """A section's counts as its cell holds them: int64 (n, genes of the panel), and the library size (n,)."""

    counts: NDArray[np.int64]
    library_size: NDArray[np.int64]
    genes: tuple[str, ...]

    def columns(self, genes: tuple[str, ...]) -> NDArray[np.int32]:
        where = {gene: column for column, gene in enumerate(self.genes)}
        return self.counts[:, [where[gene] for gene in genes]].astype(np.int32)


def rescore(stored: StoredPredictions, spots: NDArray[np.str_], n_ranked: int, record: Record) -> CellResult:
    """The cell's result as it was before it was stored, scored with today's code.

    Args:
        stored: what `predictions.h5ad` holds.
        spots: names (n,), in the order of the predictions.
        n_ranked: genes of the panel that were chosen by rank; markers that were appended come after them.
        record: whose panel and target are taken.

    Raises:
        DataError: a truth that is no transform of counts.
    """
    counts = truth_counts(stored)
    truths: dict[str, _StoredTruth] = {}
    sections = []
    for name in dict.fromkeys(stored.sections.tolist()):
        at = stored.sections == name
        truths[name] = _StoredTruth(counts[at], stored.library_size[at], stored.genes)
        sealed = SealedSection(
            id=name,
            patient=str(stored.patients[at][0]),
            genes=stored.genes,
            spots=tuple(spots[at].tolist()),
            array_xy=stored.array_xy[at],
            pixel_xy=None,
            microns_per_pixel=None,
            labels=None,
            store=None,
        )
        raw = None if stored.unclamped is None else stored.unclamped[at]
        sections.append(SectionResult(sealed, stored.prediction[at], unclamped=raw))
    result = CellResult(sections, 0.0, 0.0, {})
    # Metrics of other packages are scored again where they are installed as they were then.
    promised = record.identity.get("metrics", {})
    again = tuple(metric for metric in metrics() if promised.get(metric.name) == metric.origin)
    result.score(
        truths.__getitem__, _panel(stored, n_ranked, record), record.protocol.target, _technical(record), again
    )
    return result


def _panel(stored: StoredPredictions, n_ranked: int, record: Record) -> GenePanel:
    markers = {key.removeprefix("mg:"): genes for key, genes in record.panel.items() if key.startswith("mg:")}
    return GenePanel(
        genes=stored.genes,
        n_ranked=n_ranked,
        hvg=record.panel.get("hvg", ()),
        heg=record.panel.get("heg", ()),
        markers=markers,
        missing=record.markers_missing,
        source="",
    )


def _technical(record: Record) -> frozenset[str]:
    identity = read_held(record)
    if identity is not None:
        return frozenset(identity.rules.technical_genes)
    try:
        return frozenset(card(record.protocol.dataset).technical_genes)
    except ConfigurationError:
        return frozenset()  # a record of schema 1 of a dataset that is not at hand: those figures are left out

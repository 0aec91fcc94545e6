"""Which genes are predicted and which are averaged: chosen on the training spots of a fold alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .hashing import canonical_hash
from .section import Section

PANEL_VERSION = 1  # raised whenever the same training spots would give another panel
PANEL_SIZE = 1000
HEADLINE = 50
TIE_DECIMALS = 12  # variances that agree to here are a tie, broken by symbol: summation order must not choose genes


@dataclass(frozen=True)
class GenePanel:
    """The genes of one fold.

    Attributes:
        genes: the 1,000 of highest variance of log1p counts, by rank, then the markers absent from them.
        n_ranked: how many of `genes` are ranked (1,000, or all if fewer).
        hvg: the first 50.
        heg: the 50 of highest mean log1p count among the ranked, by mean.
        markers: group -> genes of it that the data has.
        missing: listed markers that it lacks.
        source: hash of the spots that chose them; the leak check holds it against the fold's training side.
    """

    genes: tuple[str, ...]
    n_ranked: int
    hvg: tuple[str, ...]
    heg: tuple[str, ...]
    markers: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    source: str

    @property
    def mg(self) -> tuple[str, ...]:
        """All markers of the data, in the order of the card's groups, each once."""
        return tuple(dict.fromkeys(gene for group in self.markers.values() for gene in group))

    def mask(self, genes: Iterable[str]) -> NDArray[np.bool_]:
        """Which columns of the panel are among `genes`, bool (len(self.genes),)."""
        wanted = set(genes)
        return np.array([gene in wanted for gene in self.genes], dtype=bool)

    @property
    def hash(self) -> str:
        """sha256 over the genes in order and the lists."""
        return canonical_hash(
            [self.genes, self.n_ranked, self.hvg, self.heg, {k: list(v) for k, v in self.markers.items()}]
        )

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """The columns that `*_all` figures cover, bool (len(self.genes),)."""
        return np.arange(len(self.genes)) < self.n_ranked


def choose_panel(
    training: Iterable[tuple[Section, NDArray[np.intp] | None]],
    markers: Mapping[str, tuple[str, ...]],
    source: str,
    size: int = PANEL_SIZE,
    within: Collection[str] | None = None,
) -> GenePanel:
    """The panel of a fold from its training sections (with the rows that train; None for all), read one at a time.

    Universe: genes in every training section's file, of those the ones in `within`, if it is given. Ranked by the variance of
    log1p counts over the pooled training spots, ties by symbol. HVG and HEG come from the ranked genes only.

    Raises:
        DataError: no gene stands in every training section.
    """
    n, universe, total, squares = 0, None, np.zeros(0), np.zeros(0)
    for section, rows in training:
        counts = (section.counts if rows is None else section.counts[rows]).tocsc()
        logs = counts.astype(np.float64)
        logs.data = np.log1p(logs.data)
        first = np.asarray(logs.sum(axis=0)).ravel()
        logs.data **= 2
        second = np.asarray(logs.sum(axis=0)).ravel()
        where = {gene: i for i, gene in enumerate(section.genes)}
        if universe is None:
            universe, total, squares = list(section.genes), first, second
        else:
            kept = [i for i, gene in enumerate(universe) if gene in where]
            universe = [universe[i] for i in kept]
            here = [where[gene] for gene in universe]
            total, squares = total[kept] + first[here], squares[kept] + second[here]
        n += counts.shape[0]
    if universe is not None and within is not None:
        kept = [i for i, gene in enumerate(universe) if gene in set(within)]
        universe, total, squares = [universe[i] for i in kept], total[kept], squares[kept]
    if not universe:
        every = "training section has" if within is None else "section of both datasets has"
        raise DataError(f"Expected genes that every {every}, found none; check that all use the same gene names.")

    mean = total / n
    variance = np.round(squares / n - mean**2, TIE_DECIMALS)
    symbols = np.array(universe)
    ranked = np.lexsort((symbols, -variance))[:size]
    by_mean = ranked[np.lexsort((symbols[ranked], -np.round(mean[ranked], TIE_DECIMALS)))]
    chosen = tuple(str(gene) for gene in symbols[ranked])
    known = set(universe)
    present = {group: tuple(g for g in genes if g in known) for group, genes in markers.items()}
    listed = dict.fromkeys(gene for genes in markers.values() for gene in genes)
    inside = set(chosen)
    return GenePanel(
        genes=chosen + tuple(gene for gene in listed if gene in known and gene not in inside),
        n_ranked=len(chosen),
        hvg=chosen[:HEADLINE],
        heg=tuple(str(gene) for gene in symbols[by_mean[:HEADLINE]]),
        markers=present,
        missing=tuple(gene for gene in listed if gene not in known),
        source=source,
    )


def given_panel(genes: tuple[str, ...], markers: Mapping[str, tuple[str, ...]]) -> GenePanel:
    """The panel of a benchmark that fixes its genes, at most 50: all of them are ranked, HVG and HEG at once."""
    known = set(genes)
    present = {group: tuple(gene for gene in listed if gene in known) for group, listed in markers.items()}
    missing = dict.fromkeys(gene for listed in markers.values() for gene in listed if gene not in known)
    return GenePanel(genes, len(genes), genes, genes, present, tuple(missing), source="given")

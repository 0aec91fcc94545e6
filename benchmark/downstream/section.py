"""Every downstream figure of one section, and what counting noise allows of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...leaderboard.ceiling import halves, whole
from ...leaderboard.downstream import SET
from ..scoring.metrics import Flags, Values, is_constant, pearson
from .domains import agreement, domains, label_codes
from .gene_sets import set_correlations
from .per_gene import (
    COARSE,
    FINE,
    SCALES,
    by_scale,
    moran,
    smoother,
    spearman,
    top_overlap,
    touching,
    variance_distance,
)

LEAST_SPOTS = 30  # of a section: with fewer, space and domains have no figures
TOP = 50  # spatially variable genes
SPLITS = 3  # of the counts, for ceilings; the domains and Moran's I of the first alone

Figures = dict[str, float | None]


@dataclass(frozen=True)
class SectionTruth:
    """What a section's figures are held against; n spots, g genes.

    Attributes:
        values: float64 (n, g), target space.
        counts: int64 (n, g).
        library_size: int64 (n,), over all genes.
        target: "counts" or "proportion".
        array_xy: (n, 2) pitches.
        lists: name -> which genes (g,), "all" among them.
        columns: gene set -> columns of its genes, empty where the panel has too few.
        labels: a pathologist's label per spot (n,), or None.
    """

    values: Values
    counts: NDArray[np.int64]
    library_size: NDArray[np.int64]
    target: str
    array_xy: NDArray[np.float64]
    lists: Mapping[str, Flags]
    columns: Mapping[str, NDArray[np.intp]]
    labels: NDArray[np.str_] | None

    @property
    def in_space(self) -> bool:
        """Whether there are spots enough for figures of space and domains."""
        return len(self.values) >= LEAST_SPOTS


@dataclass(frozen=True)
class Known:
    """What is the same for every prediction of a section: Moran's I (g,) and domains (n,) of the truth, the ceilings."""

    moran: Values
    domains: NDArray[np.int64]
    ceilings: Figures


def know(truth: SectionTruth, with_domains: bool = True) -> Known:
    """The truth's own part; without domains where nothing can find them."""
    flat = is_constant(truth.values)
    graph = touching(truth.array_xy)
    ranked = truth.lists["all"]
    own = moran(truth.values, graph, flat) if truth.in_space else np.zeros(len(flat))
    parts = np.zeros(len(truth.values), dtype=np.int64)
    if truth.in_space and with_domains:
        parts = domains(truth.values[:, ranked], flat[ranked])
    return Known(own, parts, _ceilings(truth, parts, with_domains))


def section_figures(
    truth: SectionTruth, prediction: Values, known: Known, with_domains: bool = True
) -> tuple[Figures, dict[str, Values]]:
    """Figures of one section's prediction by name, None where not defined; and the per-gene columns (g,).

    Args:
        truth: of the section.
        prediction: float64 (n, g), target space, unrounded.
        known: of `know`.
        with_domains: whether domains are looked for.
    """
    flat_truth, flat = is_constant(truth.values), is_constant(prediction)
    undefined, ranked = flat_truth | flat, truth.lists["all"]
    genes = {
        "spearman": spearman(truth.values, prediction, undefined),
        "rvd": variance_distance(truth.values, prediction, flat_truth),
    }
    out: Figures = {f"spearman_{name}": _mean(genes["spearman"], mask) for name, mask in truth.lists.items()}
    out |= {f"rvd_{name}": _mean(genes["rvd"], truth.lists[name]) for name in ("hvg", "all")}
    if truth.in_space:
        scales = by_scale(truth.values, prediction, *_smoothers(truth))
        genes |= {f"pcc_{name}": values for name, values in scales.items()}
        genes["moran_truth"] = known.moran
        genes["moran_prediction"] = moran(prediction, touching(truth.array_xy), flat)
        out |= _by_list(scales, truth)
        out |= {name: _mean(genes[name], ranked) for name in ("moran_truth", "moran_prediction")}
        out |= _patterns(known.moran, genes["moran_prediction"], flat_truth, flat, ranked)
        if with_domains:
            out |= _domain_figures(truth, known.domains, domains(prediction[:, ranked], flat[ranked]))
    out |= _sets(set_correlations(truth.values, prediction, truth.columns))
    out |= _profiles(truth.values[:, ranked], prediction[:, ranked])
    out |= {
        "spots": float(len(prediction)),
        "constant_truth": float(flat_truth[ranked].sum()),
        "constant_prediction": float(flat[ranked].sum()),
    }
    return out, genes


def _ceilings(truth: SectionTruth, parts: NDArray[np.int64], with_domains: bool) -> Figures:
    """Correlations of binomial halves, made those of the whole; other figures are those of one half against the other."""
    ranked = truth.lists["all"]
    smooth = _smoothers(truth) if truth.in_space else None
    sums: dict[str, Values] = {}
    sets: dict[str, list[float]] = {}
    out: Figures = {}
    for at, (half, other) in enumerate(halves(truth.counts, truth.library_size, truth.target, SPLITS)):
        flat, flat_other = is_constant(half), is_constant(other)
        found = {"spearman": spearman(half, other, flat | flat_other), "pcc": pearson(half, other, flat | flat_other)}
        found |= _profile_values(half[:, ranked], other[:, ranked])
        if smooth is not None:
            found |= by_scale(half, other, *smooth)
        for name, values in found.items():
            sums[name] = sums.get(name, 0.0) + values / SPLITS
        for name, value in set_correlations(half, other, truth.columns).items():
            if value is not None:
                sets.setdefault(name, []).append(value)
        if at == 0 and smooth is not None:
            graph = touching(truth.array_xy)
            out |= _patterns(moran(half, graph, flat), moran(other, graph, flat_other), flat, flat_other, ranked)
            if with_domains:
                pair = [domains(side[:, ranked], is_constant(side[:, ranked])) for side in (half, other)]
                out["ari_truth"], out["nmi_truth"] = agreement(*pair)
                out |= _label_figures(truth, parts)
    out |= {f"spearman_{name}": _mean(whole(sums["spearman"]), mask) for name, mask in truth.lists.items()}
    # Of the rates, the reliable share of the truth's variance: a perfect prediction of them varies by so much less.
    missed = (1 - whole(sums["pcc"]) ** 2) ** 2
    missed[is_constant(truth.values)] = np.nan
    out |= {f"rvd_{name}": _mean(missed, truth.lists[name]) for name in ("hvg", "all")}
    if smooth is not None:
        out |= _by_list({name: whole(sums[name]) for name in SCALES}, truth)
    out |= {name: _mean(whole(sums[name])) for name in ("profile", "profile_centred")}
    scores = {name: float(whole(np.mean([values], axis=1))[0]) for name, values in sets.items()}
    return out | {f"{SET}{name}": value for name, value in scores.items()} | {"sets": _average(scores.values())}


def _smoothers(truth: SectionTruth) -> tuple[object, object]:
    return smoother(truth.array_xy, FINE), smoother(truth.array_xy, COARSE)


def _by_list(scales: Mapping[str, Values], truth: SectionTruth) -> Figures:
    return {f"{scale}_{name}": _mean(scales[scale], truth.lists[name]) for name in ("hvg", "all") for scale in SCALES}


def _patterns(truth: Values, prediction: Values, flat_truth: Flags, flat: Flags, ranked: Flags) -> Figures:
    """Whether the genes with a spatial pattern are the same: correlation of Moran's I over genes, and the top lists."""
    pair = truth[ranked, None], prediction[ranked, None]
    out: Figures = {"moran_r": float(pearson(*pair, is_constant(pair[0]) | is_constant(pair[1]))[0])}
    if ranked.sum() < 2 * TOP:  # two lists of half the genes agree by chance alone
        return out | {"svg_precision": None, "svg_jaccard": None}
    found = top_overlap(truth[ranked], prediction[ranked], flat_truth[ranked], flat[ranked], TOP)
    return out | dict(zip(("svg_precision", "svg_jaccard"), found, strict=True))


def _domain_figures(truth: SectionTruth, known: NDArray[np.int64], found: NDArray[np.int64]) -> Figures:
    out: Figures = dict(zip(("ari_truth", "nmi_truth"), agreement(known, found), strict=True))
    out |= _label_figures(truth, found)
    return out | {"domains_truth": float(known.max() + 1), "domains_prediction": float(found.max() + 1)}


def _label_figures(truth: SectionTruth, found: NDArray[np.int64]) -> Figures:
    """Agreement with the pathologist's labels; None without labels, with few labelled spots or one label only."""
    told, codes = (np.zeros(0, bool), np.zeros(0, np.int64)) if truth.labels is None else label_codes(truth.labels)
    if len(codes) < LEAST_SPOTS or len(np.unique(codes)) < 2:
        return {"ari_labels": None, "nmi_labels": None}
    return dict(zip(("ari_labels", "nmi_labels"), agreement(codes, found[told]), strict=True))


def _sets(found: Mapping[str, float | None]) -> Figures:
    scored = [value for value in found.values() if value is not None]
    return {f"{SET}{name}": value for name, value in found.items()} | {
        "sets": _average(scored),
        "sets_scored": float(len(scored)),
        "sets_skipped": float(len(found) - len(scored)),
    }


def _profiles(truth: Values, prediction: Values) -> Figures:
    """Correlation over genes of a spot's profile: as it is, with the mean profile in its place, and without the means."""
    mean = np.broadcast_to(prediction.mean(axis=0), prediction.shape)
    values = _profile_values(truth, prediction) | {"profile_mean": _over_genes(truth, mean)}
    return {name: _mean(found) for name, found in values.items()}


def _profile_values(truth: Values, prediction: Values) -> dict[str, Values]:
    centred = truth - truth.mean(axis=0), prediction - prediction.mean(axis=0)
    return {"profile": _over_genes(truth, prediction), "profile_centred": _over_genes(*centred)}


def _over_genes(truth: Values, prediction: Values) -> Values:
    """Pearson's correlation of each row over the columns (n,); 0 where a side is constant."""
    y, x = np.ascontiguousarray(truth.T), np.ascontiguousarray(prediction.T)
    return pearson(y, x, is_constant(y) | is_constant(x))


def _mean(values: Values, mask: Flags | None = None) -> float | None:
    kept = values if mask is None else values[mask]
    kept = kept[~np.isnan(kept)]
    return float(kept.mean()) if len(kept) else None


def _average(values: object) -> float | None:
    found = list(values)  # type: ignore[call-overload]
    return float(np.mean(found)) if found else None

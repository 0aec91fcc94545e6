"""Scores of one section or patient: per gene, as matrix operations in float64; and their averages over the panel's lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.panel import HEADLINE, GenePanel
from ...datasets.target import TargetName, integer_counts, round_in_count_space
from .plugin_metrics import PREFIX

SCORE_VERSION = 1  # part of a cell's identity: raised whenever a figure's definition moves
CONSTANT = 1e-6  # a side is constant when sd <= CONSTANT * (1 + |mean|)
BLOCK = 256  # genes
EXPLAINED = 1e-6  # a residual variance below this share of the original counts as constant

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


def is_constant(values: Values) -> Flags:
    """Which columns of (n, genes) are constant over the spots."""
    return np.asarray(values.std(axis=0) <= CONSTANT * (1 + np.abs(values.mean(axis=0))))


def pearson(truth: Values, prediction: Values, undefined: Flags) -> Values:
    """Pearson correlation of each column over the spots, float64 (genes,); 0 where `undefined`."""
    out = np.zeros(truth.shape[1])
    for start in range(0, len(out), BLOCK):  # a block of genes stays in the processor's cache
        part = slice(start, start + BLOCK)
        a = truth[:, part] - truth[:, part].mean(axis=0)
        b = prediction[:, part] - prediction[:, part].mean(axis=0)
        scale = np.sqrt(np.einsum("ij,ij->j", a, a) * np.einsum("ij,ij->j", b, b))
        np.divide(np.einsum("ij,ij->j", a, b), scale, out=out[part], where=scale > 0)
    return np.where(undefined, 0.0, out)


def residuals(values: Values, library_size: NDArray[np.int64]) -> tuple[Values, Flags]:
    """What is left of each column after regression on log1p(library size), and where that is next to nothing."""
    depth = np.log1p(library_size.astype(np.float64))
    depth = depth - depth.mean()
    centred = values - values.mean(axis=0)
    power = float(depth @ depth)
    left = centred - np.outer(depth, depth @ centred / power) if power > 0 else centred
    before = np.einsum("ij,ij->j", centred, centred)
    return left, np.einsum("ij,ij->j", left, left) < EXPLAINED * before


def entropy(counts: NDArray[np.int64]) -> Values:
    """Entropy in bits of the histogram of integer counts of each column (genes,)."""
    n, genes = counts.shape
    ordered = np.sort(counts, axis=0).T  # genes x spots, runs of equal counts side by side
    starts = np.ones((genes, n), dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    gene, spot = np.nonzero(starts)
    flat = gene * n + spot
    share = np.diff(np.append(flat, genes * n)) / n
    return np.bincount(gene, weights=-share * np.log2(share), minlength=genes).astype(np.float64)


def gene_scores(
    truth: NDArray[np.float32], prediction: NDArray[np.float32], target: TargetName, library_size: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Every per-gene score of some spots taken together.

    Args:
        truth: float32 (n, genes), target space.
        prediction: float32 (n, genes), target space, clamped at 0 and unrounded.
        target: for `counts` the headline figures are of predictions rounded in count space.
        library_size: (n,) total UMI of each spot.

    Returns:
        Columns of `scores.parquet`, each (genes,).
    """
    y = truth.astype(np.float64)
    raw = prediction.astype(np.float64)
    x = round_in_count_space(raw) if target == "counts" else raw
    flat_truth, flat, flat_raw = is_constant(y), is_constant(x), is_constant(raw)
    left_y, gone_y = residuals(y, library_size)
    left_x, gone_x = residuals(x, library_size)
    scores: dict[str, NDArray[Any]] = {
        "pcc": pearson(y, x, flat_truth | flat),
        "pcc_unrounded": pearson(y, raw, flat_truth | flat_raw),
        "mse": ((y - x) ** 2).mean(axis=0),
        "mse_unrounded": ((y - raw) ** 2).mean(axis=0),
        "pcc_depth_adjusted": pearson(left_y, left_x, flat_truth | flat | gone_y | gone_x),
        "constant_truth": flat_truth,
        "constant_prediction": flat,
        "constant_prediction_unrounded": flat_raw,
        "mean_truth": y.mean(axis=0),
        "sd_truth": y.std(axis=0),
        "sd_prediction": x.std(axis=0),
    }
    for name, values in (("entropy_truth", y), ("entropy_prediction", raw)):
        # Only counts are integers; a proportion has no histogram of counts.
        counted = entropy(integer_counts(values)[0]) if target == "counts" else np.full(y.shape[1], np.nan)
        scores[name] = counted
    return scores


def chosen_on_test(log_counts: Values, ranked: Flags) -> tuple[Flags, Flags]:
    """HVG50 and HEG50 chosen on the test section itself, among the ranked genes, as BLEEP does: two masks (genes,)."""
    masks = []
    for values in (log_counts.var(axis=0), log_counts.mean(axis=0)):
        order = np.argsort(np.where(ranked, -values, np.inf), kind="stable")[:HEADLINE]
        mask = np.zeros(len(ranked), dtype=bool)
        mask[order] = True
        masks.append(mask & ranked)
    return masks[0], masks[1]


def figures(
    scores: Mapping[str, NDArray[Any]], panel: GenePanel, technical: frozenset[str], hvg_test: Flags, heg_test: Flags
) -> dict[str, float | None]:
    """Means over the panel's lists of one section's scores; None where a list is empty."""
    ranked = panel.ranked
    ring = panel.mask(technical) & ranked
    lists = {"mg": panel.mask(panel.mg), "hvg": panel.mask(panel.hvg), "heg": panel.mask(panel.heg), "all": ranked}

    def mean(column: str, mask: Flags) -> float | None:
        return float(scores[column][mask].mean()) if mask.any() else None

    out: dict[str, float | None] = {}
    for name, mask in lists.items():
        for suffix in ("", "_unrounded", "_depth_adjusted"):
            out[f"pcc_{name}{suffix}"] = mean(f"pcc{suffix}", mask)
        for column in scores:
            if column.startswith(PREFIX):
                value = mean(column, mask)
                out[f"{column.removeprefix(PREFIX)}_{name}"] = None if value is None or np.isnan(value) else value
        for suffix in ("", "_unrounded"):
            out[f"mse{'' if name == 'all' else '_' + name}{suffix}"] = mean(f"mse{suffix}", mask)
    out["pcc_hvg_test_chosen"] = mean("pcc", hvg_test)
    out["pcc_heg_test_chosen"] = mean("pcc", heg_test)
    for group, genes in panel.markers.items():
        out[f"pcc_mg:{group}"] = mean("pcc", panel.mask(genes))
    if technical:
        out["pcc_technical"] = mean("pcc", ring)
        out["pcc_not_technical"] = mean("pcc", ranked & ~ring)
    varying = ranked & ~scores["constant_truth"]
    if varying.any():
        out["sd_ratio"] = float(np.median(scores["sd_prediction"][varying] / scores["sd_truth"][varying]))
    else:
        out["sd_ratio"] = None
    for column in ("entropy_truth", "entropy_prediction"):
        value = mean(column, ranked)
        out[column] = None if value is None or np.isnan(value) else value
    out["undefined_truth"] = float(scores["constant_truth"][ranked].sum())
    out["undefined_prediction"] = float(scores["constant_prediction"][ranked].sum())
    return out


def pooled_figures(scores: Mapping[str, NDArray[Any]], panel: GenePanel) -> dict[str, float | None]:
    """The figures of one patient's spots taken together: shown beside, never as headline."""
    out: dict[str, float | None] = {}
    lists = {
        "mg": panel.mask(panel.mg),
        "hvg": panel.mask(panel.hvg),
        "heg": panel.mask(panel.heg),
        "all": panel.ranked,
    }
    for suffix in ("", "_unrounded"):
        for name, mask in lists.items():
            out[f"pcc_{name}{suffix}"] = float(scores[f"pcc{suffix}"][mask].mean()) if mask.any() else None
        out[f"mse{suffix}"] = float(scores[f"mse{suffix}"][panel.ranked].mean()) if panel.n_ranked else None
    return out


def hest_figure(truth: NDArray[np.float32], prediction: NDArray[np.float32]) -> float:
    """HEST-bench's number for a split: Pearson r of each gene over all test spots together, mean over genes (0 where constant).

    Args:
        truth: float32 (n, genes), log1p counts of all test samples of a split.
        prediction: float32 (n, genes), neither clamped nor rounded.

    Source: mahmoodlab/HEST afd42c3, src/hest/bench/trainer.py; there a constant makes the mean NaN.
    """
    y, x = truth.astype(np.float64), prediction.astype(np.float64)
    return float(pearson(y, x, is_constant(y) | is_constant(x)).mean())

"""Per-gene figures of one section: ranks, variances, spatial scales and Moran's I, as matrix operations in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.metrics import CONSTANT, Flags, Values, pearson

FINE, COARSE = 1.0, 3.0  # standard deviations of the two Gaussians, in pitches
_CUT = 3.0  # standard deviations after which a Gaussian ends
TOUCHING = 1.5  # pitches: six neighbours on a hexagonal array, eight on a square one
SCALES = ("near", "middle", "far")


def spearman(truth: Values, prediction: Values, undefined: Flags) -> Values:
    """Spearman's correlation of each column over the spots (genes,): Pearson's of mid-ranks; 0 where `undefined`."""
    from scipy.stats import rankdata

    return pearson(rankdata(truth, axis=0), rankdata(prediction, axis=0), undefined)


def variance_distance(truth: Values, prediction: Values, flat_truth: Flags) -> Values:
    """((var(prediction) - var(truth)) / var(truth))^2 of each column (genes,); NaN where the truth is constant.

    Relative variation distance, "Diffusion Generative Modeling for Spatially Resolved Gene Expression Inference from
    Histology Images" (Stem), arXiv:2501.15598; 0 is best, a constant prediction has 1.
    """
    out = np.full(truth.shape[1], np.nan)
    known = truth[:, ~flat_truth].var(axis=0)
    out[~flat_truth] = ((prediction[:, ~flat_truth].var(axis=0) - known) / known) ** 2
    return out


def smoother(xy: NDArray[np.float64], sd: float) -> Any:
    """CSR (n, n) that gives each spot the Gaussian mean of the spots within three `sd`; rows sum to 1.

    Args:
        xy: (n, 2) pitches.
        sd: of the Gaussian, in pitches.
    """
    from scipy import sparse
    from scipy.spatial import cKDTree

    tree = cKDTree(xy)
    pairs = tree.sparse_distance_matrix(tree, _CUT * sd, output_type="ndarray")
    weights = np.exp(-0.5 * (pairs["v"] / sd) ** 2)
    matrix = sparse.csr_matrix((weights, (pairs["i"], pairs["j"])), shape=(len(xy), len(xy)))
    return sparse.diags(1 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix


def bands(values: Values, fine: Any, coarse: Any) -> dict[str, Values]:
    """Columns (n, genes) parted by spatial scale; the three parts add up to `values`.

    near: what a Gaussian of one pitch takes away. middle: between Gaussians of one and three pitches. far: what is left
    after three pitches.
    """
    smooth, broad = fine @ values, coarse @ values
    return {"near": values - smooth, "middle": smooth - broad, "far": broad}


def is_flat(band: Values, whole: Values) -> Flags:
    """Which columns of a band are constant, at the scale of the values that it is a part of."""
    return np.asarray(band.std(axis=0) <= CONSTANT * (1 + np.abs(whole.mean(axis=0))))


def by_scale(truth: Values, prediction: Values, fine: Any, coarse: Any) -> dict[str, Values]:
    """Pearson's correlation of each column (genes,) in each band; 0 where either side's band is constant."""
    n_genes = truth.shape[1]
    both = np.concatenate([truth, prediction], axis=1)
    out = {}
    for name, band in bands(both, fine, coarse).items():
        flat = is_flat(band, both)
        out[name] = pearson(band[:, :n_genes], band[:, n_genes:], flat[:n_genes] | flat[n_genes:])
    return out


def touching(xy: NDArray[np.float64]) -> Any:
    """The graph of neighbouring spots, CSR (n, n): symmetric, 1 within 1.5 pitches, no spot its own neighbour."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    pairs = cKDTree(xy).query_pairs(TOUCHING, output_type="ndarray")
    half = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    return (half + half.T).tocsr()


def moran(values: Values, graph: Any, flat: Flags) -> Values:
    """Moran's I of each column on a graph (genes,), by scanpy; 0 where `flat`, as a constant has no pattern."""
    from scanpy.metrics import morans_i

    out = np.zeros(values.shape[1])
    if not flat.all():
        out[~flat] = morans_i(graph, np.ascontiguousarray(values[:, ~flat].T))
    return out


def top_overlap(truth: Values, prediction: Values, flat_truth: Flags, flat: Flags, k: int) -> tuple[float, float]:
    """How far the k most spatially variable genes agree: precision (shared / k) and Jaccard (shared / union).

    A constant gene is never among them, so a prediction that gives genes up has fewer than k.

    Args:
        truth: Moran's I of each gene (genes,).
        prediction: the same of the prediction.
        flat_truth: genes whose truth is constant.
        flat: genes whose prediction is constant.
        k: size of the lists.
    """

    def chosen(values: Values, constant: Flags) -> set[int]:
        order = np.argsort(np.where(constant, np.inf, -values), kind="stable")[:k]
        return set(order[~constant[order]].tolist())

    ours, theirs = chosen(truth, flat_truth), chosen(prediction, flat)
    shared, union = len(ours & theirs), len(ours | theirs)
    return shared / k, shared / union if union else 0.0

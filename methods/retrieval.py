"""Exact nearest neighbours by cosine similarity, in chunks, and means over the rows found."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from .precision import outside_autocast

QUERIES, REFERENCES = 1_024, 16_384  # at a time: similarities of 67 MB
GROUP = 64  # neighbouring references whose highest similarity is found first


@outside_autocast
def nearest(queries: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` references of highest cosine similarity with each query, the best first.

    Args:
        queries: (q, d).
        references: (r, d), same dtype and device, of any length: they are normalised a block at a time.
        k: at most r; fewer references give fewer columns.

    Returns:
        Similarities (q, k) and row numbers int64 (q, k). Exact; beyond its inputs and outputs it holds one block of
        1,024 x 16,384 similarities.
    """
    k = min(k, len(references))
    values = torch.empty((len(queries), k), dtype=queries.dtype, device=queries.device)
    rows = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
    for q in range(0, len(queries), QUERIES):
        block = normalize(queries[q : q + QUERIES], dim=1)
        best = torch.empty((len(block), 0), dtype=queries.dtype, device=queries.device)
        where = torch.empty((len(block), 0), dtype=torch.int64, device=queries.device)
        for r in range(0, len(references), REFERENCES):
            similarity = block @ normalize(references[r : r + REFERENCES], dim=1).T
            found, columns = _highest(similarity, min(k, similarity.shape[1]))
            best, where = torch.cat([best, found], 1), torch.cat([where, columns + r], 1)
            if best.shape[1] > k:
                kept = best.topk(k, dim=1)
                best, where = kept.values, where.gather(1, kept.indices)
        values[q : q + QUERIES], rows[q : q + QUERIES] = best, where
    return values, rows


def _highest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` highest of each row and their columns, (n, k) each.

    In a wide block they are looked for only in the k groups of columns whose highest members are highest: those k members
    alone are no lower than anything elsewhere. Sorting through a tenth of the columns is what makes it quick.
    """
    n, width = similarity.shape
    if width % GROUP or width < 2 * GROUP * k:
        top = similarity.topk(k, dim=1)
        return top.values, top.indices
    grouped = similarity.view(n, width // GROUP, GROUP)
    chosen = grouped.amax(dim=2).topk(k, dim=1, sorted=False).indices
    within = grouped.gather(1, chosen[:, :, None].expand(-1, -1, GROUP)).flatten(1).topk(k, dim=1)
    place = within.indices
    return within.values, chosen.gather(1, place // GROUP) * GROUP + place % GROUP


def mean_rows(table: Tensor, rows: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean, or weighted sum, of the chosen rows: table (r, g), rows (q, k), weights (q, k) -> (q, g).

    Reads only the rows that it needs, so the table may be memory-mapped.
    """
    mode = "mean" if weights is None else "sum"
    return embedding_bag(rows, table, mode=mode, per_sample_weights=weights)

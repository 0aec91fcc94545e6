"""Single molecules counted in square bins, as if they were spots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ...errors import DataError

LEAST_QUALITY = 20.0  # Phred-scaled; below it 10x counts no transcript of Xenium
_CONTROLS = ("NegControl", "antisense_", "BLANK", "Blank-", "Unassigned", "Deprecated", "Intergenic_", "Negative")


@dataclass(frozen=True)
class Binned:
    """Counts of genes, CSR int32 (bins, genes), of the bins that hold some; `bins` int (n, 2) of their columns and rows."""

    counts: sparse.csr_matrix
    genes: tuple[str, ...]
    bins: NDArray[np.int64]
    notes: tuple[str, ...]


def count_in_bins(points: Any, edge: float, genes: list[str] | None, where: str) -> Binned:
    """Count transcripts in bins of `edge` microns; controls, and those of low quality where it is stated, are left out.

    Args:
        points: a dask table with x, y (microns), feature_name and, if known, qv; read part by part.
        edge: of a bin, microns.
        genes: which names are genes; without it, those that are not called as a control is.
        where: the file, for messages.

    Raises:
        DataError: positions that are not numbers, or no transcript of a gene.
    """
    import pandas as pd

    columns = [name for name in ("x", "y", "feature_name", "qv") if name in points.columns]
    parts, poor = [], 0
    for part in points[columns].partitions:
        table = part.compute()
        good = table["qv"].to_numpy() >= LEAST_QUALITY if "qv" in table else np.ones(len(table), dtype=bool)
        poor += int((~good).sum())
        xy = table.loc[good, ["x", "y"]].to_numpy(dtype=np.float64)
        if not np.isfinite(xy).all():
            raise DataError(f"{where}: expected a position of every transcript, found some without; remove them.")
        column, row = np.floor(xy / edge).astype(np.int64).T
        names = table.loc[good, "feature_name"].astype(str).to_numpy()
        parts.append(pd.DataFrame({"row": row, "column": column, "gene": names}).value_counts().reset_index())
    counted = pd.concat(parts).groupby(["row", "column", "gene"])["count"].sum().reset_index()
    known = sorted(set(genes) if genes is not None else {g for g in counted["gene"] if not g.startswith(_CONTROLS)})
    counted = counted[counted["gene"].isin(known)]
    if counted.empty:
        raise DataError(f"{where}: expected transcripts of genes, found none; is it the right store?")
    places = counted[["row", "column"]].to_numpy()
    bins, rows = np.unique(places, axis=0, return_inverse=True)
    at = pd.Index(known).get_indexer(counted["gene"])
    counts = counted["count"].to_numpy(dtype=np.int32)
    matrix = sparse.csr_matrix((counts, (rows.ravel(), at)), shape=(len(bins), len(known)))
    notes = [f"transcripts are counted in bins of {edge:g} microns"]
    notes += [f"{poor} transcripts of a quality below {LEAST_QUALITY:g} are left out"] if poor else []
    return Binned(matrix, tuple(known), bins[:, ::-1], tuple(notes))

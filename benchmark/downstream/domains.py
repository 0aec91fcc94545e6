"""Spatial domains: Leiden clusters of spots by expression, and how two partitions agree."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError
from ..scoring.metrics import Flags, Values

COMPONENTS = 30  # principal components
NEIGHBOURS = 15  # of each spot in their space
RESOLUTION = 1.0
SEED = 0
UNTOLD = ("", "undetermined")  # labels that name no tissue
_PACKAGES = ("igraph", "scanpy", "scikit-learn")


def check_installed() -> None:
    """Whether Leiden can run here.

    Raises:
        ConfigurationError: without igraph.
    """
    if importlib.util.find_spec("igraph") is None:
        raise ConfigurationError(
            "Expected the package igraph, which finds spatial domains, found none; install the extra with "
            "pip install 'qbench-spatial[downstream]'."
        )


def packages() -> dict[str, str]:
    """Versions of what decides a partition; another release may part spots otherwise."""
    return {name: version(name) for name in _PACKAGES if importlib.util.find_spec(_module(name)) is not None}


def same_packages(stated: Mapping[str, str]) -> bool:
    """Whether partitions made with those versions can be made again here."""
    return packages() == dict(stated)


def domains(values: Values, flat: Flags) -> NDArray[np.int64]:
    """Leiden's cluster of each spot, int64 (n,), counted from 0; one cluster where every gene is constant.

    Up to 30 principal components of the columns as they are, the 15 nearest spots of each in that space (either way
    makes an edge of weight 1), modularity at resolution 1, seed 0.
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import kneighbors_graph

    n = len(values)
    if flat.all() or n < 3:
        return np.zeros(n, dtype=np.int64)
    varying = values[:, ~flat]
    count = min(COMPONENTS, n - 1, varying.shape[1])
    space = PCA(count, svd_solver="full", random_state=SEED).fit_transform(varying)
    near = kneighbors_graph(space, min(NEIGHBOURS, n - 1), mode="connectivity")
    return _leiden(near.maximum(near.T))


def agreement(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[float, float]:
    """Adjusted Rand index and normalised mutual information of two partitions of the same spots."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if len(np.unique(a)) == 1 or len(np.unique(b)) == 1:
        return 0.0, 0.0  # one cluster says nothing; scikit-learn would call two such partitions the same
    return float(adjusted_rand_score(a, b)), float(normalized_mutual_info_score(a, b))


def label_codes(labels: NDArray[np.str_]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which spots have a label (n,), and its number for those that do."""
    told = ~np.isin(labels, UNTOLD)
    return told, np.unique(labels[told], return_inverse=True)[1].astype(np.int64)


def _leiden(adjacency: object) -> NDArray[np.int64]:
    import anndata
    import scanpy

    n = adjacency.shape[0]  # type: ignore[attr-defined]
    data = anndata.AnnData(np.zeros((n, 1), np.float32))
    scanpy.tl.leiden(
        data,
        resolution=RESOLUTION,
        random_state=SEED,
        adjacency=adjacency,
        directed=False,
        flavor="igraph",
        n_iterations=2,
    )
    return np.asarray(data.obs["leiden"].astype(int).to_numpy(), dtype=np.int64)


def _module(name: str) -> str:
    return {"scikit-learn": "sklearn"}.get(name, name)

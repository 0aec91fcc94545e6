"""Sums over the neighbours of each spot, given as rows and shares."""

from __future__ import annotations

from torch import Tensor


def neighbour_mean(x: Tensor, near: Tensor, share: Tensor) -> Tensor:
    """Mean of the neighbours' rows: x (n, d), near int64 (n, k), share (n, k) -> (n, d)."""
    return (x[near] * share.to(x.dtype)[..., None]).sum(dim=1)

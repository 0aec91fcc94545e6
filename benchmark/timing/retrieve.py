"""Exact retrieval of 50 of 1,000,000 references for 5,000 queries, against one numpy product and sort a query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .measure import Row, alternate, less, matmul_limit, rate

REFERENCES, QUERIES, WIDTH, K = 1_000_000, 5_000, 256, 50
LOOPED = 10  # queries that the loop is timed on; each costs the same, so its time is scaled up


def rows() -> list[Row]:
    """Queries per second, and the memory of the whole process with references and queries in it."""
    import torch

    from ...methods.retrieval import nearest

    generator = torch.Generator().manual_seed(0)
    references = torch.empty(REFERENCES, WIDTH)
    for start in range(0, REFERENCES, 100_000):  # normalised in place, in parts, so that no second copy is ever held
        part = references[start : start + 100_000]
        part.normal_(generator=generator)
        part.div_(part.norm(dim=1, keepdim=True))
    queries = torch.nn.functional.normalize(torch.randn(QUERIES, WIDTH, generator=generator))

    last: dict[str, NDArray[np.intp]] = {}

    def ours() -> None:
        with torch.inference_mode():
            last["ours"] = nearest(queries, references, K)[1][:LOOPED].numpy()

    def plain() -> None:
        last["plain"] = _loop(queries[:LOOPED].numpy(), references.numpy())

    times = alternate(ours, plain)
    if not np.array_equal(np.sort(last["ours"], axis=1), np.sort(last["plain"], axis=1)):
        raise AssertionError("the two sides of the benchmark do not agree")
    limit = matmul_limit("fp32") / (2 * REFERENCES * WIDTH)
    name = f"retrieve {K} of {REFERENCES:,} x {WIDTH} for {QUERIES:,} queries"
    return [
        rate(
            f"{name} (loop over {LOOPED}, scaled)",
            "queries/s",
            QUERIES,
            times.ours,
            times.plain * QUERIES / LOOPED,
            limit,
        ),
        less("retrieve, peak memory of the process", "MB", times.ours_mb, None),
    ]


def _loop(queries: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.stack([np.argsort(-(references @ query), kind="stable")[:K] for query in queries])

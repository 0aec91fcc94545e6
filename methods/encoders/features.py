"""Features of a section's patches, computed once and kept in the cache by content. Imports torch only to compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.entry import EntryWriter
from ...datasets.hashing import canonical_hash
from ...errors import DataError, MethodError
from .registry import EncoderSpec

if TYPE_CHECKING:
    from .runtimes import Runtime

Progress = Callable[[str, int, int], None]
Patches = NDArray[np.uint8]

LEAST_COSINE = 0.999
_CHECKED = 32  # patches that the check against fp32 looks at


def features_key(spec: EncoderSpec, patch_key: str) -> str:
    """The cache key of a section's features: its patches and all that decides what the encoder makes of them."""
    return canonical_hash({"patches": patch_key, **spec.identity()})


def open_features(
    spec: EncoderSpec,
    patches: Patches | Callable[[], Patches],
    patch_key: str,
    cache: ArrayCache,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """float32 (n, d) features of one section, memory-mapped from the cache, encoded first if they are not there.

    Args:
        patches: uint8 (n, size, size, 3), or a function that opens them, called only when they are needed.
        patch_key: names the content of the patches. progress: called after each batch with (what, done, total).

    Raises:
        ConfigurationError, DataError: see `build.build_network`.
        MethodError: bf16 features that are too far from fp32 ones (see `check_against_fp32`).
    """

    def build(writer: EntryWriter) -> None:
        opened = patches() if callable(patches) else patches
        runtime = _runtime(spec, opened.shape[1])
        check_against_fp32(spec, runtime, opened, cache)
        out = writer.array("features", (len(opened), runtime.dim), np.float32)
        encode_into(out, runtime, opened, f"encode {spec.name}", progress)
        if not np.isfinite(out).all():
            raise DataError(f"Encoder '{spec.name}' made features that are not finite; check its weights.")
        writer.metadata.update(spec.identity(), patches=patch_key)

    return cache.get("features", features_key(spec, patch_key), build).arrays["features"]


def encode_into(
    out: NDArray[np.float32], runtime: Runtime, patches: Patches, what: str = "encode", progress: Progress | None = None
) -> None:
    """Fill `out` (n, d) with the features of `patches` (n, size, size, 3), batch by batch, in order."""
    for start in range(0, len(patches), runtime.batch):
        stop = min(start + runtime.batch, len(patches))
        out[start:stop] = runtime.encode(patches[start:stop])
        if progress is not None:
            progress(what, stop, len(patches))


def check_against_fp32(spec: EncoderSpec, runtime: Runtime, patches: Patches, cache: ArrayCache) -> float:
    """Mean cosine between features of this runtime and of eager fp32, over up to 32 patches of the first section encoded.

    Computed once per encoder and runtime and remembered in the cache; 1 for eager fp32 itself.

    Raises:
        MethodError: the cosine is not above 0.999.
    """
    if spec.weights is None or (spec.runtime, spec.dtype) == ("eager", "fp32"):
        return 1.0

    def build(writer: EntryWriter) -> None:
        from .runtimes import open_runtime

        rows = np.unique(np.linspace(0, len(patches) - 1, min(_CHECKED, len(patches))).astype(np.intp))
        sample = np.ascontiguousarray(patches[rows])
        plain = open_runtime(dataclasses.replace(spec, runtime="eager", dtype="fp32"), patches.shape[1])
        both = np.empty((2, len(sample), runtime.dim), np.float32)
        encode_into(both[0], runtime, sample)
        encode_into(both[1], plain, sample)
        ours, theirs = both.astype(np.float64)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, 1e-30)
        writer.metadata.update(spec.identity(), cosine=float(cosines.mean()), least=float(cosines.min()))

    key = canonical_hash({**spec.identity(), "size": int(patches.shape[1]), "device": spec.device})
    cosine = float(cache.get("encoder-check", key, build).metadata["cosine"])
    if not cosine > LEAST_COSINE:
        raise MethodError(
            f"Encoder '{spec.name}' in {spec.runtime} {spec.dtype} has a cosine of {cosine:.5f} to its fp32 features, "
            f"expected above {LEAST_COSINE}; use --runtime eager:fp32 for it."
        )
    return cosine


@lru_cache(maxsize=1)
def _runtime(spec: EncoderSpec, image_size: int) -> Runtime:
    """The sections of a run share one network; only the last is kept, because each holds its weights in memory."""
    from .runtimes import open_runtime

    return open_runtime(spec, image_size)

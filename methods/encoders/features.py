"""Features of a section's patches, computed once and kept in the cache by content. Imports torch only to compute."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...datasets.cache import ArrayCache
from ...datasets.entry import EntryWriter
from ...datasets.hashing import canonical_hash
from ...datasets.views import Views, ViewWindows
from ...errors import DataError, MethodError
from ..memory import memory_named
from ..scaling import SCALING_VERSION
from .agreement import Agreement, agreement
from .parts import encode_parts
from .registry import EncoderSpec

if TYPE_CHECKING:
    from .runtimes import Runtime

Progress = Callable[[str, int, int], None]
Patches = NDArray[np.uint8]

NO_ROOM = "free what other processes hold of it, encode with --device cpu, or choose a smaller --encoder"
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
        spec: the encoder, with its weights' sha256 and its runtime, which name the entry.
        patches: uint8 (n, size, size, 3), or a function that opens them, called only when they are needed.
        patch_key: names the content of the patches.
        cache: where features are kept.
        progress: called after each batch with (what, done, total).

    Raises:
        ConfigurationError, DataError: see `build.build_network`.
        MethodError: features that are too far from fp32 ones (see `check_against_fp32`).
    """

    def build(writer: EntryWriter) -> None:
        opened = patches() if callable(patches) else patches
        runtime = _runtime(spec, opened.shape[1])
        check_against_fp32(spec, runtime, opened, cache)
        out = writer.array("features", (len(opened), runtime.dim), np.float32)
        parts.extend(encode_parts(out, partial(_encode, spec, runtime, opened, progress), key, cache))
        if not np.isfinite(out).all():
            raise DataError(f"Encoder '{spec.name}' made features that are not finite; check its weights.")
        writer.metadata.update(spec.identity(), patches=patch_key)

    key, parts = features_key(spec, patch_key), list[str]()
    found = cache.get("features", key, build).arrays["features"]
    for part in parts:
        cache.remove("feature-parts", part)
    return found


def open_view_features(
    spec: EncoderSpec,
    views: Views,
    pixels: Callable[[], tuple[ViewWindows, Iterator[Patches]]],
    own: NDArray[np.float32],
    patch_key: str,
    cache: ArrayCache,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """float32 (n, views, d), memory-mapped: features of several views of each spot; NaN where a view is missing.

    Args:
        spec: the encoder.
        views: which views.
        pixels: opens where the views lie and what they show; called only when they are needed, and none is kept.
        own: features of the spots' patches, float32 (n, d), which are not encoded again.
        patch_key: names the content of those patches.
        cache: where they are kept.
        progress: called after each batch with (what, done, total).
    """

    def build(writer: EntryWriter) -> None:
        windows, shown = pixels()
        out = writer.array("features", (len(own), views.count, own.shape[1]), np.float32)
        encode_views(out, views, windows, shown, own, lambda size: _runtime(spec, size), progress)
        writer.metadata.update(spec.identity(), **views.identity(), patches=patch_key)

    key = canonical_hash({"patches": patch_key, **views.identity(), **spec.identity()})
    return cache.get("views", key, build).arrays["features"]


def encode_views(
    out: NDArray[np.float32],
    views: Views,
    windows: ViewWindows,
    shown: Iterator[Patches],
    own: NDArray[np.float32],
    runtime: Callable[[int], Runtime],
    progress: Progress | None = None,
) -> None:
    """Fill `out` (n, views, d): each window encoded once, wherever it is seen.

    Args:
        out: what is filled.
        views: which views.
        windows: where they lie.
        shown: the windows' pixels in order, uint8 (size, size, 3).
        own: features of the spots' patches, float32 (n, d).
        runtime: the encoder for patches of a size.
        progress: called after each batch with (what, done, total).

    Raises:
        DataError: features that are not finite.
    """
    flat = out.reshape(-1, out.shape[2])
    seen = windows.index.ravel()
    order = np.argsort(seen, kind="stable")
    ordered = seen[order]
    done, first = 0, next(shown, None)
    pending = shown if first is None else chain([first], shown)
    while first is not None and (batch := list(islice(pending, runtime(len(first)).batch))):
        values = runtime(len(first)).encode(np.stack(batch))
        start, stop = np.searchsorted(ordered, [done, done + len(batch)])
        flat[order[start:stop]] = values[ordered[start:stop] - done]
        done += len(batch)
        if progress is not None:
            progress("views", done, len(windows.corners))
    if views.own is not None:
        out[:, views.own] = own
    if not np.isfinite(out[windows.present]).all():
        raise DataError("The encoder made features of views that are not finite; check its weights.")
    out[~windows.present] = np.nan


def encode_into(
    out: NDArray[np.float32], runtime: Runtime, patches: Patches, what: str = "encode", progress: Progress | None = None
) -> None:
    """Fill `out` (n, d) with the features of `patches` (n, size, size, 3), batch by batch, in order.

    Raises:
        MethodError: a batch that does not fit into memory.
    """
    with memory_named(NO_ROOM, "A batch of patches"), ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(runtime.read, patches[: runtime.batch])
        for start in range(0, len(patches), runtime.batch):
            stop = min(start + runtime.batch, len(patches))
            batch = ahead.result()
            if stop < len(patches):
                ahead = pool.submit(runtime.read, patches[stop : stop + runtime.batch])
            out[start:stop] = runtime.encode(batch)
            if progress is not None:
                progress(what, stop, len(patches))


def _encode(
    spec: EncoderSpec,
    runtime: Runtime,
    patches: Patches,
    progress: Progress | None,
    out: NDArray[np.float32],
    rows: slice,
) -> None:
    """Some rows of a section's patches, with the progress of all of them told."""
    start, total = rows.start or 0, len(patches)

    def tell(what: str, done: int, _total: int) -> None:
        if progress is not None:
            progress(what, start + done, total)

    encode_into(out, runtime, patches[rows], f"encode {spec.name}", tell)


def check_against_fp32(spec: EncoderSpec, runtime: Runtime, patches: Patches, cache: ArrayCache) -> Agreement:
    """How this runtime's features agree with those of eager fp32, over up to 32 patches of the first section encoded.

    Computed once per encoder and runtime and remembered in the cache; perfect for eager fp32 itself.

    Raises:
        MethodError: features, or what methods make of them, are too far from fp32 (see `Agreement.fault`).
    """
    if spec.weights is None or (spec.runtime, spec.dtype) == ("eager", "fp32"):
        return Agreement(1.0, 1.0)
    rows = np.unique(np.linspace(0, len(patches) - 1, min(_CHECKED, len(patches))).astype(np.intp))

    def build(writer: EntryWriter) -> None:
        from .rgb import encode_rgb
        from .runtimes import open_runtime

        sample = np.ascontiguousarray(patches[rows])
        plain = open_runtime(dataclasses.replace(spec, runtime="eager", dtype="fp32"), patches.shape[1])
        ours, exact = np.empty((2, len(sample), runtime.dim), np.float32)
        encode_into(ours, runtime, sample)
        encode_into(exact, plain, sample)
        found = agreement(ours, exact, encode_rgb(sample))
        writer.metadata.update(spec.identity(), agreement=dataclasses.asdict(found))

    of = {"size": int(patches.shape[1]), "device": spec.device, "patches": len(rows), "scaling": SCALING_VERSION}
    key = canonical_hash({**spec.identity(), **of})
    found = Agreement(**cache.get("encoder-check", key, build).metadata["agreement"])
    if (fault := found.fault()) is not None:
        raise MethodError(
            f"Encoder '{spec.name}' in {spec.runtime} {spec.dtype} has {fault}; use --runtime eager:fp32 for it."
        )
    return found


def release() -> None:
    """Let go of the network that encoded last, and of the GPU memory that torch holds on to for it."""
    _runtime.cache_clear()
    if "torch" in sys.modules and (torch := sys.modules["torch"]).cuda.is_initialized():
        torch.cuda.empty_cache()


@lru_cache(maxsize=1)
def _runtime(spec: EncoderSpec, image_size: int) -> Runtime:
    """The sections of a run share one network; only the last is kept, because each holds its weights in memory."""
    from .runtimes import open_runtime

    return open_runtime(spec, image_size)

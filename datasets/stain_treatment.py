"""The stain of patches treated before anything reads them: grey, or normalised as Macenko et al. (ISBI 2009) do.

Macenko: optical density OD = -ln((I + 1) / I0); the two largest eigenvectors of the covariance of the OD of tissue pixels span
a plane; in it the first and the last percentile of the angles are eosin and haematoxylin, the stains' vectors; concentrations
are scaled so that their 99th percentiles are those of a reference and are drawn with its vectors. The reference values below
are those in common use (mitkovetta/staining-normalization). A section's stains are fitted on its own pixels alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .cache import ArrayCache
from .entry import EntryWriter
from .hashing import canonical_hash
from .patches import Progress, open_patches, patch_key
from .section import Section

StainName = Literal["none", "grey", "macenko"]
Treatment = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]  # of RGB uint8 (..., 3)

STAIN_VERSION = 1  # raised when the same patches would be treated otherwise
LIGHT = 240.0  # I0, grey levels of glass
# beta: a pixel is tissue where its mean density is at least this. Code in circulation asks it of each channel, which leaves out
# eosin wherever it hardly absorbs red; the paper asks it of "OD intensity".
TISSUE = 0.15
PERCENTILE = 1.0  # alpha, of the angles; its counterpart bounds the concentrations
VECTORS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])  # OD of haematoxylin and eosin, by RGB
STRENGTH = np.array([1.9705, 1.0308])  # 99th percentiles of their concentrations
SPOTS, STEP = 64, 4  # a section's stains are fitted on every fourth row and column of at most so many patches
LEAST = 200  # tissue pixels that a fit asks for
_GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601
_DENSITY = (-np.log((np.arange(256) + 1) / LIGHT)).astype(np.float32)  # of each grey level


def sampled(n: int) -> NDArray[np.intp]:
    """Which of n patches a section's stains are fitted on: at most `SPOTS`, evenly spaced in their order."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(SPOTS, n)).astype(np.intp))


def fit_treatment(stain: StainName, patches: Callable[[], NDArray[np.uint8]], where: str) -> Treatment:
    """What treats patches of a section; `patches` gives its `sampled` ones, RGB uint8 (k, size, size, 3), if they are needed.

    Raises:
        DataError: for Macenko, too few tissue pixels, or such of one stain; `where` names the section.
    """
    if stain == "none":
        return lambda patch: patch
    if stain == "grey":
        return grey
    return fit_macenko(patches()[:, ::STEP, ::STEP].reshape(-1, 3), where).normalise


def grey(patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of RGB uint8 (..., 3), in all three channels."""
    luma = np.rint(_product(patch, _GREY[:, None])).astype(np.uint8)
    return np.repeat(luma, 3, axis=-1)


def _product(values: NDArray[Any], matrix: NDArray[Any]) -> NDArray[Any]:
    """Channels (..., c) by a matrix (c, k), without BLAS.

    This runs in a thread beside others, and OpenBLAS waits for ever for its own threads where the process forks meanwhile, as
    OpenVINO does for its telemetry.
    """
    product: NDArray[Any] = np.einsum("...c,ck->...k", values, matrix)
    return product


@dataclass(frozen=True)
class Stains:
    """The stains of a section.

    Attributes:
        vectors: float64 (2, 3), optical density of haematoxylin and of eosin by RGB, of length 1.
        strength: float64 (2,), 99th percentile of the concentration of each.
    """

    vectors: NDArray[np.float64]
    strength: NDArray[np.float64]

    def normalise(self, patch: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB uint8 (..., 3) as if it were stained like the reference."""
        unmix = np.linalg.pinv(self.vectors) * (STRENGTH / self.strength)
        density = _product(_DENSITY[patch], (unmix @ VECTORS).astype(np.float32))
        normal: NDArray[np.uint8] = np.rint(np.clip(LIGHT * np.exp(-density), 0, 255)).astype(np.uint8)
        return normal


def fit_macenko(pixels: NDArray[np.uint8], where: str) -> Stains:
    """The stains of pixels, RGB uint8 (n, 3); those that are no tissue are left out.

    Raises:
        DataError: too few tissue pixels, or such of one stain.
    """
    density = _DENSITY[pixels].astype(np.float64)
    tissue = density[density.mean(axis=1) >= TISSUE]
    advice = "leave the section out, or take --stain none or grey."
    if len(tissue) < LEAST:
        raise DataError(
            f"Section {where}: expected at least {LEAST} pixels of tissue to fit its stains on, found {len(tissue)}; {advice}"
        )
    centred = tissue - tissue.mean(axis=0)
    values, axes = np.linalg.eigh(np.einsum("ni,nj->ij", centred, centred) / (len(tissue) - 1))
    if values[-2] <= 1e-6 * values[-1]:
        raise DataError(f"Section {where}: expected two stains, found the pixels of one colour; {advice}")
    plane = axes[:, [-1, -2]]
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)  # so that no angle lies where arctan2 wraps round
    x, y = _product(tissue, plane).T
    low, high = np.percentile(np.arctan2(y, x), [PERCENTILE, 100 - PERCENTILE])
    ends = np.array([[np.cos(angle), np.sin(angle)] for angle in (low, high)]) @ plane.T
    vectors = ends if ends[0, 0] > ends[1, 0] else ends[::-1]  # haematoxylin absorbs more red than eosin
    concentration = _product(tissue, np.linalg.pinv(vectors))
    strength = np.percentile(concentration, 100 - PERCENTILE, axis=0)
    if not (strength > 0).all():
        raise DataError(f"Section {where}: expected two stains, found the pixels of one colour; {advice}")
    return Stains(vectors, strength)


def open_treated(
    section: Section,
    size: int,
    microns_per_pixel: float | None,
    stain: StainName,
    cache: ArrayCache,
    progress: Progress | None = None,
    checked: bool = True,
) -> tuple[NDArray[np.uint8], str]:
    """As `patches.open_patches`, with the stain treated; treated patches are kept beside the others.

    Raises:
        DataError: see `open_patches` and `fit_macenko`.
    """
    opened = partial(open_patches, section, size, microns_per_pixel, cache, progress)
    if stain == "none":
        return opened(checked)

    def build(writer: EntryWriter) -> None:
        patches, _ = opened()
        treat = fit_treatment(stain, lambda: patches[sampled(len(patches))], section.id)
        out = writer.array("patches", patches.shape, np.uint8)
        for i, patch in enumerate(patches):
            out[i] = treat(patch)
        writer.metadata = {"section": section.id, "stain": stain}

    plain = patch_key(section.content, size, microns_per_pixel)
    key = canonical_hash({"patches": plain, "stain": stain, "version": STAIN_VERSION})
    return cache.get("patches", key, build, checked).arrays["patches"], key


def treatment_of(
    section: Section, size: int, microns_per_pixel: float | None, stain: StainName, cache: ArrayCache
) -> Treatment:
    """What treats other windows of a section's image, as its patches are treated."""

    def some() -> NDArray[np.uint8]:
        patches, _ = open_patches(section, size, microns_per_pixel, cache)
        return patches[sampled(len(patches))]

    return fit_treatment(stain, some, section.id)

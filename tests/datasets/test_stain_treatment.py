from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qbench.datasets.cache import ArrayCache
from qbench.datasets.patches import open_patches
from qbench.datasets.section import Section
from qbench.datasets.stain_treatment import (
    LIGHT,
    STRENGTH,
    VECTORS,
    fit_macenko,
    fit_treatment,
    grey,
    open_treated,
    sampled,
    treatment_of,
)
from qbench.errors import DataError
from scipy import sparse

# Two laboratories' optical densities of haematoxylin and eosin; the second is not that of any reference here.
PLANTED = np.array([[0.60, 0.72, 0.35], [0.10, 0.95, 0.30]])
PLANTED /= np.linalg.norm(PLANTED, axis=1, keepdims=True)


def concentrations(n: int = 40_000) -> np.ndarray:
    """Of two stains, (n, 2): a part of the pixels nearly pure, as nuclei and collagen are, the others mixed."""
    rng = np.random.default_rng(3)
    pure = rng.uniform(0.4, 1.5, n)
    share = np.where(rng.uniform(size=n) < 0.5, rng.integers(0, 2, n), rng.uniform(0, 1, n))
    return np.stack([pure * share, pure * (1 - share)], axis=1)


def stained(amounts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(LIGHT * np.exp(-amounts @ vectors)), 0, 255).astype(np.uint8)


def test_a_planted_stain_matrix_is_recovered() -> None:
    amounts = concentrations()
    found = fit_macenko(stained(amounts, PLANTED), "S1")
    angles = np.degrees(np.arccos(np.clip((found.vectors * PLANTED).sum(axis=1), -1, 1)))
    assert angles.max() < 2
    np.testing.assert_allclose(found.strength, np.percentile(amounts, 99, axis=0), rtol=0.05)


def test_glass_does_not_move_the_fit() -> None:
    tissue = stained(concentrations(), PLANTED)
    glass = np.random.default_rng(0).integers(236, 246, (60_000, 3)).astype(np.uint8)
    alone, among = fit_macenko(tissue, "S1"), fit_macenko(np.concatenate([tissue, glass]), "S1")
    np.testing.assert_allclose(among.vectors, alone.vectors, atol=1e-9)


def test_two_laboratories_look_alike_after_it_and_as_the_reference_is() -> None:
    amounts = concentrations()
    other = np.array([[0.49, 0.77, 0.41], [0.05, 0.84, 0.54]])
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    labs = [stained(amounts, PLANTED), stained(amounts * [1.4, 0.7], other)]
    apart = np.abs(labs[0].astype(float) - labs[1]).mean()
    first, second = (fit_macenko(pixels, "S1").normalise(pixels).astype(float) for pixels in labs)
    assert apart > 15  # grey levels
    assert np.abs(first - second).mean() < 3
    due = stained(amounts / np.percentile(amounts, 99, axis=0) * STRENGTH, VECTORS)
    assert np.abs(first - due).mean() < 4


def test_grey_knows_luma_alone() -> None:
    rng = np.random.default_rng(1)
    patch = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    once = grey(patch)
    assert (once == once[..., :1]).all()
    np.testing.assert_array_equal(grey(once), once)
    np.testing.assert_array_equal(once[..., 0], np.asarray(Image.fromarray(patch).convert("L")))  # the same luma
    # Another hue of the same luma, .299 R + .587 G + .114 B, is the same grey.
    one, two = np.array([[[100, 100, 100]]], np.uint8), np.array([[[139, 80, 100]]], np.uint8)
    np.testing.assert_array_equal(grey(one), grey(two))


def test_what_has_no_two_stains_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"S7: expected at least 200 pixels of tissue .*, found 0; leave the section out"
    ):
        fit_macenko(np.full((500, 3), 240, np.uint8), "S7")
    with pytest.raises(DataError, match="two stains, found the pixels of one colour"):
        fit_macenko(np.full((500, 3), 90, np.uint8), "S7")


def test_a_section_is_treated_by_its_own_stains_and_its_plain_patches_stay(tmp_path: Path) -> None:
    def section(name: str, vectors: np.ndarray) -> Section:
        pixels = stained(concentrations(90_000), vectors).reshape(300, 300, 3)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        xy = np.array([[100.0, 100.0], [180.0, 150.0], [90.0, 210.0]])
        return Section(
            name, name, sparse.csr_matrix(np.ones((3, 1), np.int32)), ("G",), ("a", "b", "c"), xy, xy,
            tmp_path / f"{name}.png", content=name,
        )  # fmt: skip

    cache = ArrayCache(tmp_path / "cache")
    one, two = section("S1", PLANTED), section("S2", VECTORS)
    plain, key = open_patches(one, 64, None, cache)
    treated, other = open_treated(one, 64, None, "macenko", cache)
    assert other != key
    assert open_treated(one, 64, None, "none", cache)[1] == key
    due = fit_treatment("macenko", lambda: plain[sampled(len(plain))], "S1")(plain[1])
    np.testing.assert_array_equal(treated[1], due)
    np.testing.assert_array_equal(treatment_of(one, 64, None, "macenko", cache)(plain[2]), treated[2])
    # The other section's stains are its own: what treats it does not treat this one alike.
    assert (treatment_of(two, 64, None, "macenko", cache)(plain[1]) != treated[1]).any()
    np.testing.assert_array_equal(open_treated(one, 64, None, "grey", cache)[0], grey(plain))
    assert sampled(3).tolist() == [0, 1, 2]
    assert len(set(sampled(1000).tolist())) == 64


def test_no_blas_runs_beside_a_fork() -> None:
    """Patches are treated in a thread; a fork elsewhere must not find it inside BLAS, which would never return."""
    pixels = stained(concentrations(), PLANTED)
    stop, forks = threading.Event(), []

    def treat() -> None:
        while not stop.is_set():
            grey(fit_macenko(pixels, "S1").normalise(pixels))

    worker = threading.Thread(target=treat, daemon=True)
    worker.start()
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0)
        forks.append(os.waitpid(child, 0)[1])
    stop.set()
    worker.join(timeout=60)
    assert not worker.is_alive()
    assert set(forks) == {0}

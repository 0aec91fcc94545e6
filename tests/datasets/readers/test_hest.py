from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.patches import open_patches
from qbench.datasets.registry import open_dataset
from qbench.datasets.section import Section
from qbench.errors import DataError

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image


def load(tmp_path: Path) -> Section:
    card = write_card(tmp_path / "mine.yaml", "hest", [{"id": "TENX1", "patient": "P1", "file": "TENX1"}])
    return open_dataset(str(card), None, ArrayCache(tmp_path / "cache")).load("TENX1")


def write_patches(path: Path, barcodes: list[str]) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    patches = np.random.default_rng(2).integers(0, 255, (len(barcodes), 224, 224, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file["img"] = patches
        file["barcode"] = np.array([[name] for name in barcodes], dtype="S")
        file["coords"] = np.zeros((len(barcodes), 2), dtype=int)
    return patches


def test_patches_are_matched_by_barcode_and_spots_without_one_left_out(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "st" / "TENX1.h5ad", spatial=grid())
    order = [f"spot{i}" for i in (7, 2, 11, 0)]
    patches = write_patches(tmp_path / "patches" / "TENX1.h5", order)
    section = load(tmp_path)
    assert section.spots == ("spot0", "spot2", "spot7", "spot11")
    assert (section.counts.toarray() == counts()[[0, 2, 7, 11]]).all()
    assert section.microns_per_pixel == 0.5
    assert section.notes == ("8 spots have no patch and are left out",)
    cache = ArrayCache(tmp_path / "cache")
    found, _ = open_patches(section, 224, None, cache)
    assert (found == patches[[3, 1, 0, 2]]).all()
    with pytest.raises(DataError, match="cannot be cut anew"):
        open_patches(section, 224, 1.0, cache)


def test_the_slide_is_preferred_and_its_scale_read(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "adata" / "TENX1.h5ad", spatial=grid())
    write_patches(tmp_path / "patches" / "TENX1.h5", ["spot0"])
    write_image(tmp_path / "wsis" / "TENX1.tif")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "TENX1.json").write_text(json.dumps({"pixel_size_um_estimated": 0.42}))
    section = load(tmp_path)
    assert section.n_spots == 12
    assert section.image == tmp_path / "wsis" / "TENX1.tif"
    assert section.microns_per_pixel == 0.42


@pytest.mark.parametrize(
    ("metadata", "due", "says"),
    [
        ({"pixel_size_um_estimated": 0.42, "pixel_size_um_embedded": None}, 0.42, None),
        ({"pixel_size_um_estimated": float("nan"), "pixel_size_um_embedded": 0.5}, 0.5, None),
        ({"pixel_size_um_estimated": 0.42, "pixel_size_um_embedded": 0.5}, 0.42, "embedded says 0.5; 0.42 is taken"),
    ],
)
def test_the_two_sizes_of_hest_s_metadata(tmp_path: Path, metadata: dict, due: float, says: str | None) -> None:
    write_h5ad(tmp_path / "st" / "TENX1.h5ad", spatial=grid())
    write_image(tmp_path / "wsis" / "TENX1.tif")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "TENX1.json").write_text(json.dumps(metadata))
    section = load(tmp_path)
    assert section.microns_per_pixel == due
    found = [note for note in section.notes if "microns per pixel" in note]
    assert len(found) == (says is not None)
    assert all(says in note for note in found if says)


def test_patches_of_another_sample(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "st" / "TENX1.h5ad", spatial=grid())
    write_patches(tmp_path / "patches" / "TENX1.h5", ["other"])
    with pytest.raises(DataError, match="found none of their barcodes"):
        load(tmp_path)

"""Formats that keep their pixels in several files, or in none of TIFF's and JPEG's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.registry import open_dataset
from qbench.datasets.slides.kind import image_hash
from qbench.errors import DataError

from ...support.datasets_sections import write_card, write_h5ad
from ...support.scanner_files import write_dicom, write_mrxs


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((1024, 768), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", ["s.mrxs", "S.MRXS", "s.one.Mrxs"])
def test_a_mrxs_with_its_folder(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    image = open_image(write_mrxs(tmp_path / name, pixels))
    assert image.size == (1024, 768)
    assert image.scale is not None
    assert image.scale.microns == 0.5
    found = image.read(0, 0, 1024, 768)
    assert (found[:256, :256] == 255).all()  # what was not scanned
    assert (found[256:] == pixels[256:]).all()
    assert (image.read(300, 200, 500, 300) == pixels[200:500, 300:800]).all()


def test_a_mrxs_of_fluorescence(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_mrxs(tmp_path / "s.mrxs", pixels, kind="SLIDE_TYPE_FLUORESCENCE")
    with pytest.raises(DataError, match="found a fluorescence slide"):
        open_image(path)


@pytest.mark.parametrize("lost", ["Index.dat", "Data0000.dat"])
def test_a_mrxs_whose_folder_is_not_whole(tmp_path: Path, pixels: np.ndarray, lost: str) -> None:
    path = write_mrxs(tmp_path / "s.mrxs", pixels)
    (tmp_path / "s" / lost).unlink()
    with pytest.raises(DataError, match=r"Expected a readable slide in .*s.mrxs"):
        open_image(path).decode_all()


@pytest.mark.parametrize("name", ["s.dcm", "S.DCM", "IM0001"])
def test_a_slide_of_dicom(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    image = open_image(write_dicom(tmp_path / name, pixels[:700, :1000], microns=0.25))
    assert image.size == (1000, 700)
    assert image.scale is not None
    assert image.scale.microns == pytest.approx(0.25)
    assert np.abs(image.read(30, 20, 900, 600).astype(int) - pixels[20:620, 30:930]).mean() < 2


def test_the_hash_of_a_slide_holds_the_files_beside_it(tmp_path: Path, pixels: np.ndarray) -> None:
    slide = write_mrxs(tmp_path / "s.mrxs", pixels)
    before = image_hash(slide, tmp_path / "cache")
    data = tmp_path / "s" / "Data0000.dat"
    data.write_bytes(data.read_bytes() + b"more")
    assert image_hash(slide, tmp_path / "cache") != before


def test_a_section_on_a_slide_takes_its_scale(tmp_path: Path, pixels: np.ndarray) -> None:
    write_mrxs(tmp_path / "S1.mrxs", pixels, microns=0.42)
    write_h5ad(tmp_path / "S1.h5ad", spatial=np.column_stack([300 + 40.0 * np.arange(12), np.full(12, 400.0)]))
    entry = {"id": "S1", "patient": "P1", "file": "S1.h5ad", "image": "S1.mrxs", "pixel_scale": 1}
    card = write_card(tmp_path / "mine.yaml", "h5ad", [entry])
    section = open_dataset(str(card), None, ArrayCache(tmp_path / "cache")).load("S1")
    assert section.microns_per_pixel == 0.42
    assert section.scales[0].source == "openslide.mpp-x (mirax)"

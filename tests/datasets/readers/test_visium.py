from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.registry import open_dataset
from qbench.datasets.section import Section
from qbench.errors import DataError

from ...support.datasets_sections import GENES, hexagons, write_card, write_image, write_visium


def load(tmp_path: Path, **more: object) -> Section:
    card = write_card(tmp_path / "mine.yaml", "visium", [{"id": "S1", "patient": "P1", "file": "outs", **more}])
    return open_dataset(str(card), None, ArrayCache(tmp_path / "cache")).load("S1")


@pytest.mark.parametrize(("mtx", "header"), [(False, True), (True, False)])
def test_spots_under_tissue_with_counts_and_pixels(tmp_path: Path, mtx: bool, header: bool) -> None:
    values = write_visium(tmp_path / "outs", mtx=mtx, header=header)
    section = load(tmp_path)
    assert section.genes == GENES
    assert (section.counts.toarray() == values).all()
    assert (section.pixel_xy == hexagons(14)[:12]).all()
    # neighbours 100 pixels apart, and 100 microns by construction of the array; its stated spot of 55 pixels agrees
    assert section.microns_per_pixel == pytest.approx(1.0)
    assert section.spot_diameter == pytest.approx(55.0)
    # array_col 2 and 0 of one row are one pitch apart; rows lie sqrt(3)/2 pitches apart
    assert np.allclose(section.array_xy[1] - section.array_xy[0], [1, 0])
    assert np.allclose(section.array_xy[4] - section.array_xy[0], [0.5, np.sqrt(0.75)])


def test_symbols_of_several_genes_are_added_up(tmp_path: Path) -> None:
    values = write_visium(tmp_path / "outs", names=("ERBB2", "TBCE", "TBCE", "KRT19"))
    section = load(tmp_path)
    assert section.genes == ("ERBB2", "TBCE", "KRT19")
    assert (section.columns(("TBCE",))[:, 0] == values[:, 1] + values[:, 2]).all()


def test_an_image_of_another_resolution(tmp_path: Path) -> None:
    write_visium(tmp_path / "outs")
    write_image(tmp_path / "full.png", 600, 500)
    assert load(tmp_path, image="full.png").image == tmp_path / "full.png"
    write_image(tmp_path / "half.png", 1200, 1000)
    with pytest.raises(DataError, match=r"about 600 x 500 pixels, as Space Ranger read it, found 1200 x 1000"):
        load(tmp_path, image="half.png")


def test_positions_of_another_run(tmp_path: Path) -> None:
    write_visium(tmp_path / "outs")
    path = tmp_path / "outs" / "spatial" / "tissue_positions.csv"
    path.write_text(path.read_text().replace("AAAC03-1", "GGGG03-1"))
    with pytest.raises(DataError, match=r"1 of 14 barcodes have no position.*AAAC03-1"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("AAAC00-1,1,", "AAAC00-1,", "found no last cell in line 2"),
        ("AAAC00-1,1,", "AAAC00-1,2,", "expected 0 or 1 as in_tissue, found 2 for AAAC00-1"),
        (",", ";", "found 'barcode;in_tissue;"),
        ("pxl_col", "pxl_row", "found more than one pxl_row_in_fullres"),
    ],
)
def test_positions_that_would_be_read_otherwise_than_written(tmp_path: Path, old: str, new: str, found: str) -> None:
    write_visium(tmp_path / "outs", header=True)
    path = tmp_path / "outs" / "spatial" / "tissue_positions.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=found):
        load(tmp_path)


def test_a_damaged_matrix(tmp_path: Path) -> None:
    write_visium(tmp_path / "outs")
    path = tmp_path / "outs" / "filtered_feature_bc_matrix.h5"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="expected Space Ranger's matrix"):
        load(tmp_path)


@pytest.mark.parametrize("head", ["4 14 999999999", "999999999 14 1", "4 999999999 1", "a b c", ""])
def test_room_is_not_taken_for_what_a_matrix_only_states(tmp_path: Path, head: str) -> None:
    write_visium(tmp_path / "outs", mtx=True)
    [path] = tmp_path.rglob("matrix.mtx.gz")
    path.write_bytes(gzip.compress(f"%%MatrixMarket matrix coordinate integer general\n{head}\n1 1 1\n".encode()))
    with pytest.raises(DataError, match=r"expected Space Ranger's matrix in .*matrix\.mtx"):
        load(tmp_path)

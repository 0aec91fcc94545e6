"""A run's predictions are drawn by scanpy as they are stored, over pictures that change no number."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from qbench.benchmark.engine import pictures
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.pictures import small_picture, spatial_entry
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.settings import RunSettings
from qbench.datasets.cache import ArrayCache
from qbench.errors import DataError
from qbench.leaderboard.record import Record

from ...support.datasets_sections import counts, grid, write_card, write_h5ad
from ...support.slide_images import stained, tiled

SECTIONS = {"A1": "A", "A2": "A", "B1": "B", "C1": "C"}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i, (section, patient) in enumerate(SECTIONS.items()):
        write_h5ad(folder / f"{section}.h5ad", counts(seed=i) + 20, spatial=grid(pitch=200, start=200))
        Image.fromarray(stained(1050, 900, i)).save(folder / f"{section}.png")
        entry = {"id": section, "patient": patient, "file": f"{section}.h5ad", "image": f"{section}.png"}
        entries.append({**entry, "spot_diameter": 66.0} if i else entry)
    return write_card(folder / "mine.yaml", "h5ad", entries)


def run(card: Path, out: Path, **more: object) -> tuple[Record, Path]:
    """The cell that tests patient A, and its folder."""
    plan = make_plan(RunSettings(methods=("mean",), dataset=str(card), out=out, **more))
    planned = next(cell for cell in plan.cells if cell.task.fold.name == "A")
    return run_cell(planned.task), planned.task.folder


@pytest.fixture(scope="module")
def cell(card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    return run(card, tmp_path_factory.mktemp("runs"))


def test_each_section_has_its_picture_and_its_scale(card: Path, cell: tuple[Record, Path]) -> None:
    data = anndata.read_h5ad(cell[1] / "predictions.h5ad")
    assert set(data.uns["spatial"]) == {"A1", "A2"}
    for section, diameter in (("A1", 100.0), ("A2", 66.0)):  # of A1 it is not known: half the pitch
        entry = data.uns["spatial"][section]
        pixels = entry["images"]["hires"]
        assert pixels.dtype == np.uint8
        assert pixels.shape == (514, 600, 3)
        assert entry["scalefactors"]["tissue_hires_scalef"] == pytest.approx(600 / 1050)
        assert entry["scalefactors"]["spot_diameter_fullres"] == pytest.approx(diameter)
        full = np.asarray(Image.open(card.parent / f"{section}.png").resize((600, 514), Image.Resampling.BOX))
        assert np.abs(pixels.astype(int) - full).mean() < 3
    assert (cell[1] / "predictions.h5ad").stat().st_size < 3_000_000
    assert str(card.parent).encode() not in (cell[1] / "predictions.h5ad").read_bytes()


def test_scanpy_draws_them_without_a_line_of_repair(cell: tuple[Record, Path]) -> None:
    import scanpy

    data = anndata.read_h5ad(cell[1] / "predictions.h5ad")
    with warnings.catch_warnings(), mpl.rc_context({"backend": "agg"}):
        warnings.simplefilter("ignore")
        part = data[data.obs["section"] == "A2"]
        (axes,) = scanpy.pl.spatial(part, color="ERBB2", library_id="A2", show=False)
    shape = axes.images[0].get_array().shape
    left, right = sorted(axes.get_xlim())
    drawn = part.obsm["spatial"] * 600 / 1050
    assert shape[:2] == (514, 600)
    assert left <= drawn[:, 0].min() < drawn[:, 0].max() <= right <= 600
    assert len(axes.collections) == 1


def test_a_picture_changes_no_number_and_verify_finds_nothing(
    card: Path, cell: tuple[Record, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qbench.benchmark.engine.cell.add_pictures", lambda *_: None)
    bare, folder = run(card, tmp_path)
    assert anndata.read_h5ad(folder / "predictions.h5ad").uns["spatial"]["A1"]["images"] == {}
    of_numbers = {"exclude": {"files"}}  # the picture itself lies in one of the files
    assert bare.hashes.model_dump(**of_numbers) == cell[0].hashes.model_dump(**of_numbers)
    assert bare.cell == cell[0].cell
    assert not verify(cell[1].parents[1]).problems


def test_without_images_there_is_no_picture(card: Path, tmp_path: Path) -> None:
    record, folder = run(card, tmp_path / "without", no_images=True)
    entry = anndata.read_h5ad(folder / "predictions.h5ad").uns["spatial"]["A1"]
    assert entry["images"] == {}
    assert entry["scalefactors"] == {"spot_diameter_fullres": pytest.approx(100.0)}
    assert not record.warnings


def test_a_picture_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(stained(300, 200)).save(tmp_path / "a.png")
    cache = ArrayCache(tmp_path / "cache")
    first = small_picture(tmp_path / "a.png", cache)
    assert (first.pixels.shape, first.factor) == ((200, 300, 3), 1.0)  # never made larger
    monkeypatch.setattr(pictures, "open_image", None)
    assert (small_picture(tmp_path / "a.png", cache).pixels == first.pixels).all()


def test_a_slide_gives_its_picture_from_a_small_level(tmp_path: Path) -> None:
    pixels = stained(3000, 2200)
    slide = tiled(tmp_path / "s.tif", pixels, 0.5)  # levels of 3000 and 1500 pixels
    found = small_picture(slide, ArrayCache(tmp_path / "cache"))
    assert found.pixels.shape == (440, 600, 3)
    assert found.factor == 5.0
    due = np.asarray(Image.fromarray(pixels[::2, ::2]).resize((600, 440), Image.Resampling.BOX))
    assert np.abs(found.pixels.astype(int) - due).mean() < 3


def test_a_single_spot_has_a_size() -> None:
    assert spatial_entry(None, None, np.zeros((1, 2)))["scalefactors"] == {"spot_diameter_fullres": 1.0}


def test_a_picture_that_cannot_be_made_is_said(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise DataError("a tile is damaged.")

    monkeypatch.setattr(pictures, "small_picture", damaged)
    record, folder = run(card, tmp_path)
    assert record.status == "done"
    assert record.warnings[0] == "predictions.h5ad has no picture of section A1: a tile is damaged."
    assert anndata.read_h5ad(folder / "predictions.h5ad").uns["spatial"]["A1"]["images"] == {}

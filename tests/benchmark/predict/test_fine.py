"""Maps finer than spots: the lattice, a map of a slide, and what is refused."""

from __future__ import annotations

import base64
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile
from qbench.benchmark.predict import fine_store, raster
from qbench.benchmark.predict.fine_store import FineStore, lattice
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.predict.model import load_model
from qbench.benchmark.predict.slide import _finer, predict_slide
from qbench.benchmark.predict.window_store import WindowStore
from qbench.benchmark.settings import RunSettings
from qbench.datasets.images import open_image
from qbench.datasets.stain_treatment import fit_treatment
from qbench.datasets.views import Views, view_windows
from qbench.errors import ConfigurationError
from qbench.leaderboard.finer import read_finer

from ...support.slide_images import SCALE, stained_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, one section each, on stained images."""
    return stained_dataset(tmp_path_factory.mktemp("fine"), 2)


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    asked = "istar[epochs=2,width=8,copies=3]"
    fit_model(RunSettings(methods=(asked,), dataset=str(data), encoder="rgb"), data.parent / "model")
    return data.parent / "model"


def test_a_lattice_is_the_slides_and_shares_sum_to_one() -> None:
    points = np.random.default_rng(0).uniform(20, 90, (50, 2))
    nodes, corner, weight = lattice(points, 7.0)
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose((nodes[corner] * weight[..., None]).sum(axis=1), points, rtol=1e-5)
    np.testing.assert_allclose(nodes / 7, np.rint(nodes / 7), atol=1e-9)
    few = lattice(points[:1], 7.0)[0]
    assert len(few) == 4
    assert {tuple(node) for node in few} <= {tuple(node) for node in nodes}


def test_the_view_in_the_middle_is_a_part_sized_window_there() -> None:
    windows = view_windows(Views(4, inside=True, centre=True), np.array([[100.0, 80.0]]), 40, (200, 160))
    assert (windows.corners.tolist(), windows.edge, windows.index.tolist()) == ([[95, 75]], 10, [[0]])
    with pytest.raises(ValueError, match="inside"):
        Views(4, centre=True)


def test_nodes_are_encoded_as_windows_are(data: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untreated = fit_treatment("none", list, "s")
    fitted, image = _finer(load_model(model, {}, "cpu", "auto")), open_image(data.parent / "S0.png")
    (view,) = fitted.inputs.views
    centres = np.array([[112.0, 56.0], [112.0, 84.0], [300.0, 203.0]])
    plain = WindowStore(fitted, image, 224, untreated)
    plain.open(centres)
    fine = FineStore(fitted, image, 224, 16, untreated)
    fine.open(centres)
    # Lattices are 112 px apart for patches and 28 px for parts, so that some points are nodes.
    np.testing.assert_allclose(fine.features("s", view.key)[:2], plain.features("s", view.key)[:2], rtol=1e-5)
    whole = FineStore(fitted, image, 224, 200, untreated)
    whole.open(centres)
    np.testing.assert_array_equal(whole.features("s", ""), plain.features("s", ""))
    assert np.abs(fine.features("s", "") - plain.features("s", ""))[2].max() > 0
    assert fine_store.OVERLAP == 2


def test_a_map_finer_than_spots(data: Path, model: Path, tmp_path: Path) -> None:
    image, out = data.parent / "S1.png", tmp_path / "fine.h5ad"
    done = predict_slide(model, image, out, resolution="16um", microns_per_pixel=SCALE)
    table = anndata.read_h5ad(out)
    assert done.points == table.n_obs > 80
    xy = table.obsm["spatial"]
    np.testing.assert_allclose((xy - 16) / 32, np.rint((xy - 16) / 32), atol=1e-9)
    assert np.isfinite(table.X).all()
    assert table.X.std(axis=0).max() > 0
    shown = read_finer(out, ["ERBB2"])  # as the leaderboard's page shows it: a pixel a point
    assert (shown["title"][:5], shown["resolution"], shown["step"]) == ("istar", "16 µm", 32)
    assert sum(value > 0 for value in base64.b64decode(shown["values"])) == table.n_obs


@pytest.mark.slow
@pytest.mark.parametrize("features", ["parts", "pixels"])
def test_xfuse_gives_a_map_too(features: str, data: Path, tmp_path: Path) -> None:
    asked = f"xfuse[cells=8,components=8,epochs=2,features={features},width=4]"
    fit_model(RunSettings(methods=(asked,), dataset=str(data), encoder="rgb"), tmp_path / "model")
    predict_slide(
        tmp_path / "model", data.parent / "S1.png", tmp_path / "o.h5ad", resolution="40um", microns_per_pixel=SCALE
    )
    table = anndata.read_h5ad(tmp_path / "o.h5ad")
    assert table.n_obs > 10
    assert np.isfinite(table.X).all()
    assert table.X.std(axis=0).max() > 0


def test_an_ome_tiff_holds_the_same_map(
    data: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, out = data.parent / "S1.png", tmp_path / "fine.h5ad"
    predict_slide(model, image, out, resolution="40um", microns_per_pixel=SCALE)
    table = anndata.read_h5ad(out)
    monkeypatch.setattr(raster, "HELD", 1)  # a channel at a time
    genes, picture = ("COL1A1", "ERBB2"), tmp_path / "fine.ome.tif"
    asked = {"resolution": "40um", "microns_per_pixel": SCALE, "form": "ome-tiff"}
    predict_slide(model, image, picture, genes=genes, **asked)
    with tifffile.TiffFile(picture) as file:
        (series,) = file.series
        values, about = series.asarray(), tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    assert values.shape == (2, 7, 9)
    assert [channel["Name"] for channel in about["Channel"]] == list(genes)
    assert about["PhysicalSizeX"] == pytest.approx(40)
    column, row = np.rint(table.obsm["spatial"] / 80 - 0.5).astype(int).T
    np.testing.assert_array_equal(values[:, row, column], table[:, list(genes)].X.T)
    assert np.isfinite(values).sum() == 2 * table.n_obs
    predict_slide(model, image, tmp_path / "all.ome.tif", **asked)
    assert tifffile.imread(tmp_path / "all.ome.tif").shape[0] == table.n_vars
    with pytest.raises(ConfigurationError, match="--format ome-tiff is of maps"):
        predict_slide(model, image, picture, grid="60um", form="ome-tiff", microns_per_pixel=SCALE)
    with pytest.raises(ConfigurationError, match=r"Expected a file such as o\.ome\.tif"):
        predict_slide(model, image, tmp_path / "o.h5ad", **asked)


def test_what_cannot_be_is_one_sentence(data: Path, model: Path, tmp_path: Path) -> None:
    image, out = data.parent / "S1.png", tmp_path / "o.h5ad"
    with pytest.raises(
        ConfigurationError, match=r"--resolution 0.3um is 0.6 pixels of this image, finer than its pixels"
    ):
        predict_slide(model, image, out, resolution="0.3um", microns_per_pixel=SCALE)
    with pytest.raises(ConfigurationError, match="either --grid"):
        predict_slide(model, image, out, grid="60um", resolution="8um", microns_per_pixel=SCALE)
    fit_model(RunSettings(methods=("colour",), dataset=str(data)), tmp_path / "colour")
    with pytest.raises(ConfigurationError, match="colour predicts spots, and no map finer than they are"):
        predict_slide(tmp_path / "colour", image, out, resolution="8um", microns_per_pixel=SCALE)

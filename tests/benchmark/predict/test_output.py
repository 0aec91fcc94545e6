"""What `predict` writes is opened by scanpy and by spatialdata as it is."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.predict.output import check_output
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError
from qbench.names import name_of_part
from typer.testing import CliRunner

from ...support.datasets_sections import counts, grid, write_card, write_h5ad
from ...support.slide_images import stained

GENES = ("ERBB2", "COL1A1", "CD74", "KRT6A/B/C", "VWF", "ACTB")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i in range(3):
        Image.fromarray(stained(700, 600, i)).save(folder / f"S{i}.png")
        write_h5ad(folder / f"S{i}.h5ad", counts(seed=i), GENES, grid(pitch=120, start=140))
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png"})
    card = write_card(folder / "mine.yaml", "h5ad", entries)
    fit_model(RunSettings(methods=("colour",), dataset=str(card)), folder / "model")
    return folder / "model"


def predict(model: Path, output: Path, *more: str) -> None:
    image = model.parent / "S0.png"
    arguments = ["predict", "--model", model, "--image", image, "--grid", "40px", "--output", output, "-q", *more]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception


@pytest.fixture(scope="module")
def h5ad(model: Path) -> Path:
    predict(model, model.parent / "o.h5ad", "--maps", "KRT6A/B/C,VWF")
    return model.parent / "o.h5ad"


def test_scanpy_draws_an_h5ad_without_a_line_of_repair(h5ad: Path) -> None:
    import scanpy

    data = anndata.read_h5ad(h5ad)
    with warnings.catch_warnings(), mpl.rc_context({"backend": "agg"}):
        warnings.simplefilter("ignore")
        (axes,) = scanpy.pl.spatial(data, color="ERBB2", show=False)
    assert axes.images[0].get_array().shape[:2] == (600, 700)
    assert len(axes.collections[0].get_paths()) == len(data)
    assert str(h5ad.parent).encode() not in h5ad.read_bytes()


def test_a_gene_with_a_slash_has_a_map_whose_name_tells_it(h5ad: Path) -> None:
    path = h5ad.with_name("o-KRT6A%2FB%2FC.png")
    with Image.open(path) as found:
        assert min(found.size) > 300
    assert name_of_part(path.stem.removeprefix("o-")) == "KRT6A/B/C"
    assert h5ad.with_name("o-VWF.png").is_file()


def test_a_store_holds_the_same_as_the_h5ad(model: Path, h5ad: Path, tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata", reason="needs qbench-spatial[spatialdata]")
    predict(model, tmp_path / "o.zarr", "--format", "zarr", "--maps", "KRT6A/B/C")
    store = spatialdata.read_zarr(tmp_path / "o.zarr")
    table, due = store["predictions"], anndata.read_h5ad(h5ad)
    assert list(table.var_names) == list(due.var_names)
    assert list(table.obs_names) == list(due.obs_names)
    assert (table.X == due.X).all()
    assert (table.layers["counts"] == due.layers["counts"]).all()
    assert (table.uns["spatial"]["slide"]["images"]["hires"] == due.uns["spatial"]["slide"]["images"]["hires"]).all()
    circles = store["spots"]
    assert list(circles.index) == list(table.obs["spot"])
    assert np.allclose([(p.x, p.y) for p in circles.geometry], due.obsm["spatial"])
    assert set(circles.radius) == {20.0}
    assert store["slide"].shape == (3, 600, 700)
    assert spatialdata.get_extent(store["slide"]) == {"x": (0.0, 700.0), "y": (0.0, 600.0)}
    joined, _ = spatialdata.join_spatialelement_table(store, spatial_element_names="spots", table_name="predictions")
    assert len(joined["spots"]) == len(due)
    assert (tmp_path / "o-KRT6A%2FB%2FC.png").read_bytes() == h5ad.with_name("o-KRT6A%2FB%2FC.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o-KRT6A%2FB%2FC.png", "o.zarr"]
    predict(model, tmp_path / "o.zarr", "--format", "zarr")  # an earlier store is replaced
    assert len(spatialdata.read_zarr(tmp_path / "o.zarr")["predictions"]) == len(due)


def test_outputs_that_cannot_be_are_refused_before_anything_is_predicted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="add --format zarr"):
        predict(model, tmp_path / "o.zarr")
    with pytest.raises(ConfigurationError, match=r"a folder such as o\.zarr"):
        predict(model, tmp_path / "o.h5ad", "--format", "zarr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="found other files"):
        predict(model, tmp_path / "mine", "--format", "zarr")
    with pytest.raises(ConfigurationError, match=r"no gene in the panel named 'KRT6A'"):
        predict(model, tmp_path / "o.h5ad", "--maps", "KRT6A")
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qbench-spatial\[spatialdata\]'"):
        check_output(tmp_path / "o.zarr", "zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]

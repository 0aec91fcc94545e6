"""SpatialData stores as spatialdata-io writes them: Visium, Visium HD, Xenium."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from qbench.benchmark.cli.entry import app
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.readers.transcripts import count_in_bins
from qbench.datasets.registry import Dataset, open_dataset
from qbench.errors import ConfigurationError, DataError
from typer.testing import CliRunner

from ...support.datasets_sections import GENES, counts, hexagons, write_image

spatialdata = pytest.importorskip("spatialdata", reason="needs the extra qbench-spatial[spatialdata]")
run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()


def added(*options: str) -> Dataset:
    result = run(app, ["data", "add", "data", "--name", "mine", *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return open_dataset("mine.yaml", None, ArrayCache())


def pixels(tmp_path: Path, width: int = 600, height: int = 500) -> np.ndarray:
    return np.asarray(open_image(write_image(tmp_path / "he.png", width, height)).read(0, 0, width, height))


def image_model(values: np.ndarray, **more: Any) -> Any:
    from spatialdata.models import Image2DModel

    return Image2DModel.parse(values.transpose(2, 0, 1), dims=("c", "y", "x"), rgb=None, **more)


def table_of(names: list[str], region: str, spots: int, row: np.ndarray, column: np.ndarray, seed: int = 0) -> Any:
    import anndata
    from scipy import sparse

    obs = pd.DataFrame(
        {
            "in_tissue": [1] * (spots - 2) + [0] * 2,
            "array_row": row,
            "array_col": column,
            "region": pd.Categorical([region] * spots),
            "spot_id": np.arange(spots),
        },
        index=names,
    )
    var = pd.DataFrame({"gene_ids": [f"ENSG{i:011d}" for i in range(6)]}, index=[*GENES[:5], f"{GENES[4]}-1"])
    return anndata.AnnData(sparse.csr_matrix(counts(spots, seed=seed).astype(np.float32)), obs=obs, var=var)


def annotated(data: Any, region: str) -> Any:
    from spatialdata.models import TableModel

    return TableModel.parse(data, region=region, region_key="region", instance_key="spot_id")


def visium(tmp_path: Path, samples: tuple[str, ...] = ("V1",), full: bool = True) -> Any:
    """A store of Visium as spatialdata-io lays it out, twelve spots under tissue and two outside for each sample."""
    import anndata
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity, Scale

    index = np.arange(14)
    shapes, images, tables = {}, {}, []
    for i, name in enumerate(samples):
        to = {name: Identity(), f"{name}_downscaled_hires": Scale([0.1, 0.1], axes=("y", "x"))}
        shapes[name] = ShapesModel.parse(hexagons(14), geometry=0, radius=32.5, index=index, transformations=to)
        small = {f"{name}_downscaled_hires": Identity(), name: Scale([10.0, 10.0], axes=("y", "x"))}
        images[f"{name}_hires_image"] = image_model(pixels(tmp_path, 60, 50), transformations=small)
        if full:
            images[f"{name}_full_image"] = image_model(
                pixels(tmp_path), transformations={name: Identity()}, scale_factors=[2]
            )
        tables.append(
            table_of([f"{name}-AAAC{k:02d}" for k in index], name, 14, index // 4, 2 * (index % 4) + index // 4 % 2, i)
        )
    table = anndata.concat(tables, merge="same")
    table = TableModel.parse(table, region=list(samples), region_key="region", instance_key="spot_id")
    return spatialdata.SpatialData(images=images, shapes=shapes, tables={"table": table})


def test_visium_with_its_full_image(tmp_path: Path) -> None:
    visium(tmp_path).write(tmp_path / "data" / "S1.zarr")
    dataset = added()
    section = dataset.load("S1")
    assert section.genes == GENES[:5]  # the last symbol had been made unique; its ids say that it is the fifth's
    expected = counts(14)[:12]
    assert (section.counts.toarray()[:, :4] == expected[:, :4]).all()
    assert (section.counts.toarray()[:, 4] == expected[:, 4] + expected[:, 5]).all()
    assert section.pixel_xy is not None
    assert np.allclose(section.pixel_xy, hexagons(14)[:12])
    assert np.allclose(section.array_xy[1] - section.array_xy[0], [1, 0])
    assert section.microns_per_pixel == pytest.approx(1.0)
    assert "2 spots outside the tissue are left out" in section.notes
    assert section.image is not None
    image = open_image(section.image)
    assert image.size == (600, 500)
    assert (image.read(0, 0, 600, 500) == pixels(tmp_path)).all()


def test_a_small_image_is_not_taken_for_the_slide(tmp_path: Path) -> None:
    visium(tmp_path, full=False).write(tmp_path / "data" / "S1.zarr")
    assert added().info("S1").image is None
    write_image(tmp_path / "data" / "S1.png")
    assert added().info("S1").image == Path("data/S1.png")


def test_several_samples_of_one_store(tmp_path: Path) -> None:
    visium(tmp_path, ("V1", "V2")).write(tmp_path / "data" / "S1.zarr")
    dataset = added()
    assert [info.id for info in dataset.sections] == ["S1_V1", "S1_V2"]
    for i, info in enumerate(dataset.sections):
        section = dataset.load(info.id)
        assert section.spots[0] == f"V{i + 1}-AAAC00"
        assert (section.counts.toarray()[:, :4] == counts(14, seed=i)[:12, :4]).all()
    card = yaml.safe_load(Path("mine.yaml").read_text())
    assert [one["image"] for one in card["sections"]] == [f"S1.zarr/images/V{i}_full_image" for i in (1, 2)]
    del card["sections"][0]["library"]
    Path("mine.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(DataError, match=r"expected one sample of .*, found V1, V2"):
        open_dataset("mine.yaml", None, ArrayCache()).load("S1_V1")


def test_visium_hd_by_bins(tmp_path: Path) -> None:
    from shapely import box
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity

    shapes, tables = {}, {}
    for edge, n in ((8, 6), (16, 3)):
        row, column = np.divmod(np.arange(n * n), n)
        wide = 2.5 * edge
        squares = [
            box(100 + c * wide, 90 + r * wide, 100 + (c + 1) * wide, 90 + (r + 1) * wide)
            for r, c in zip(row, column, strict=True)
        ]
        region = f"HD1_square_{edge:03d}um"
        import geopandas

        shapes[region] = ShapesModel.parse(
            geopandas.GeoDataFrame(geometry=squares), transformations={"HD1": Identity()}
        )
        data = table_of([f"s{edge}_{i}" for i in range(n * n)], region, n * n, row, column, edge)
        tables[f"square_{edge:03d}um"] = annotated(data, region)
    spatialdata.SpatialData(shapes=shapes, tables=tables).write(tmp_path / "data" / "S1.zarr")
    section = added().load("S1")
    assert section.n_spots == 34
    assert section.microns_per_pixel == pytest.approx(0.4)
    assert section.pixel_xy is not None
    assert section.pixel_xy[7].tolist() == [130.0, 120.0]
    assert section.array_xy[7].tolist() == [1.0, 1.0]
    assert added("--bin", "16um").load("S1").n_spots == 7
    result = run(app, ["data", "add", "data", "--name", "mine", "--bin", "2um"])
    assert "found 8um, 16um; choose with --bin" in str(result.exception)


def transcripts() -> pd.DataFrame:
    """Forty molecules of two genes and a control on 4 x 3 bins of 50 microns."""
    rng = np.random.default_rng(0)
    xy = rng.uniform([0, 0], [200, 150], (400, 2))
    names = rng.choice(["ERBB2", "GNAS", "NegControlProbe_1"], 400)
    return pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "feature_name": names, "qv": rng.choice([10.0, 30.0], 400)})


def test_xenium_is_counted_in_pseudo_spots(tmp_path: Path) -> None:
    from spatialdata.models import PointsModel
    from spatialdata.transformations import Affine, Identity, Scale

    points = PointsModel.parse(
        transcripts(), coordinates={"x": "x", "y": "y"}, feature_key="feature_name",
        transformations={"global": Scale([4.0, 4.0], axes=("x", "y"))},
    )  # fmt: skip
    # the H&E image lies turned by 180 degrees in the coordinates of the run: x = 800 - x, y = 600 - y
    turned = Affine([[-1, 0, 800], [0, -1, 600], [0, 0, 1]], input_axes=("x", "y"), output_axes=("x", "y"))
    images = {
        "he_image": image_model(pixels(tmp_path, 800, 600), transformations={"global": turned}),
        "morphology_focus": image_model(pixels(tmp_path, 800, 600)[:, :, :1], transformations={"global": Identity()}),
    }
    spatialdata.SpatialData(images=images, points={"transcripts": points}).write(tmp_path / "data" / "X1.zarr")
    section = added("--bin", "50um").load("X1")
    table = transcripts()
    good = table[(table.qv >= 20) & (table.feature_name != "NegControlProbe_1")]
    assert section.genes == ("ERBB2", "GNAS")
    assert section.n_spots == 12
    assert int(section.counts.sum()) == len(good)
    row = section.spots.index("1x2")  # its row and column
    inside = good[(good.x // 50 == 2) & (good.y // 50 == 1)]
    assert section.counts.toarray()[row].tolist() == [
        int((inside.feature_name == name).sum()) for name in section.genes
    ]
    assert section.array_xy[row].tolist() == [2.0, 1.0]
    assert section.pixel_xy is not None
    assert section.pixel_xy[row].tolist() == pytest.approx([800 - 4 * 125, 600 - 4 * 75])
    assert section.microns_per_pixel == pytest.approx(0.25)
    assert section.spot_diameter == pytest.approx(200)
    assert added().load("X1").notes[0] == "transcripts are counted in bins of 55 microns"


def test_what_is_neither_spots_nor_transcripts(tmp_path: Path) -> None:
    spatialdata.SpatialData(images={"he": image_model(pixels(tmp_path, 60, 50))}).write(tmp_path / "data" / "S1.zarr")
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert isinstance(result.exception, DataError)
    assert "Expected spots of Visium" in str(result.exception)
    (tmp_path / "data" / "S1.zarr" / "zarr.json").write_text("{")
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert "Expected a SpatialData store in data/S1.zarr" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "S1.zarr" / "tables").mkdir(parents=True)
    imported = builtins.__import__

    def without(name: str, *more: Any, **other: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "spatialdata":
            raise ImportError(name)
        return imported(name, *more, **other)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert isinstance(result.exception, ConfigurationError)
    assert "pip install 'qbench-spatial[spatialdata]'" in str(result.exception)


def test_transcripts_without_genes(tmp_path: Path) -> None:
    import dask.dataframe

    table = dask.dataframe.from_pandas(transcripts(), npartitions=3)
    with pytest.raises(DataError, match="expected transcripts of genes, found none"):
        count_in_bins(table, 50.0, ["CD8A"], "Section S1")
    whole = dask.dataframe.from_pandas(transcripts(), npartitions=1)
    parts, one = (count_in_bins(points, 50.0, None, "Section S1") for points in (table, whole))
    assert (parts.counts != one.counts).nnz == 0
    assert (parts.bins == one.bins).all()

"""Visium as it lies about: prefixed downloads, mirrors, GEO, raw matrices, Visium HD."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from qbench.benchmark.cli.entry import app
from qbench.datasets.cache import ArrayCache
from qbench.datasets.find import parse_bin
from qbench.datasets.readers.spot_positions import read_positions
from qbench.datasets.registry import Dataset, open_dataset
from qbench.errors import ConfigurationError, DataError
from typer.testing import CliRunner

from ...support.datasets_sections import GENES, counts, write_image, write_tenx_h5, write_visium

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))


def added(*options: str) -> Dataset:
    """The dataset that `data add` makes of the folder `data`."""
    result = run(app, ["data", "add", "data", "--name", "mine", *options])
    assert result.exit_code == 0, (result.output, result.exception)
    return open_dataset("mine.yaml", None, ArrayCache())


def ids(dataset: Dataset) -> list[str]:
    return [info.id for info in dataset.sections]


def packed(path: Path) -> Path:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return path


def moved(folder: Path, prefix: str, to: Path, flat: bool = False) -> None:
    """Put a prefix before the names of Space Ranger's files, in one folder if flat."""
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name != "spatial":
            path.rename(to / f"{prefix}{path.name}")
        elif not flat:
            path.rename(to / "spatial")
        else:
            for inner in sorted(path.iterdir()):
                inner.rename(to / f"{prefix}{inner.name}")


def test_a_download_of_10x(tmp_path: Path) -> None:
    values = write_visium(tmp_path / "outs")
    name = "V1_Breast_Cancer_Block_A_Section_1"
    moved(tmp_path / "outs", f"{name}_", tmp_path / "data")
    write_image(tmp_path / "data" / f"{name}_image.TIF")
    dataset = added()
    assert ids(dataset) == [name]
    section = dataset.load(name)
    assert (section.counts.toarray() == values).all()
    assert section.image is not None
    assert section.image.name == f"{name}_image.TIF"
    assert section.notes == ("2 spots outside the tissue are left out",)


@pytest.mark.parametrize("mtx", [True, False])
def test_samples_of_geo_in_one_folder(tmp_path: Path, mtx: bool) -> None:
    found = {}
    for i, name in enumerate(("GSM1_A", "GSM2_B")):
        found[name] = write_visium(tmp_path / name, mtx=mtx, header=bool(i), seed=i)
        if mtx:  # the three files lie loose, too
            for path in sorted((tmp_path / name / "filtered_feature_bc_matrix").iterdir()):
                path.rename(tmp_path / name / path.name)
            (tmp_path / name / "filtered_feature_bc_matrix").rmdir()
        moved(tmp_path / name, f"{name}_", tmp_path / "data", flat=True)
    for path in sorted((tmp_path / "data").iterdir()):
        if path.suffix in (".csv", ".json", ".png"):
            packed(path)
    dataset = added()
    assert ids(dataset) == ["GSM1_A", "GSM2_B"]
    for name, values in found.items():
        assert (dataset.load(name).counts.toarray() == values).all()
        assert dataset.load(name).microns_per_pixel == pytest.approx(1.0)


def test_positions_without_a_prefix_belong_to_no_one_of_several_samples(tmp_path: Path) -> None:
    for name in ("A", "B"):
        write_visium(tmp_path / name)
        moved(tmp_path / name, f"{name}_", tmp_path / "data", flat=name == "A")
    assert ids(added()) == ["A"]  # `spatial` may be either's
    write_card = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    write_card["sections"][0]["file"] = "."
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(write_card))
    with pytest.raises(DataError, match=r"matrix of one Visium sample .*found A, B; name the folder of one"):
        open_dataset("mine.yaml", None, ArrayCache())


def test_mirrors_of_dlpfc_lie_flat_with_txt_positions(tmp_path: Path) -> None:
    values = write_visium(tmp_path / "outs", header=False)
    moved(tmp_path / "outs", "", tmp_path / "data" / "151507", flat=True)
    inner = tmp_path / "data" / "151507"
    (inner / "filtered_feature_bc_matrix.h5").rename(inner / "151507_filtered_feature_bc_matrix.h5")
    (inner / "tissue_positions_list.csv").rename(inner / "tissue_positions_list.txt")
    write_image(inner / "151507_full_image.tif")
    section = added().load("151507")
    assert (section.counts.toarray() == values).all()
    assert section.image == Path("data/151507/151507_full_image.tif")


def test_the_raw_matrix_is_cut_to_the_tissue_and_the_filtered_one_preferred(tmp_path: Path) -> None:
    values = write_visium(tmp_path / "data" / "S1" / "outs")
    outs = tmp_path / "data" / "S1" / "outs"
    (outs / "filtered_feature_bc_matrix.h5").rename(outs / "raw_feature_bc_matrix.h5")
    raw = added().load("S1")
    assert (raw.counts.toarray() == values).all()
    assert raw.notes == ("2 spots outside the tissue are left out",)
    barcodes = [f"AAAC{i:02d}-1" for i in range(14)]
    write_tenx_h5(outs / "filtered_feature_bc_matrix.h5", counts(14, seed=9), GENES, barcodes)
    assert (added().load("S1").counts.toarray() == counts(14, seed=9)[:12]).all()


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("features", ["features.tsv", "genes.tsv"])
def test_the_folder_of_the_matrix_packed_or_plain(tmp_path: Path, plain: bool, features: str) -> None:
    values = write_visium(tmp_path / "data" / "S1", mtx=True)
    inner = tmp_path / "data" / "S1" / "filtered_feature_bc_matrix"
    (inner / "features.tsv.gz").rename(inner / f"{features}.gz")
    if plain:
        for path in sorted(inner.iterdir()):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    assert (added().load("S1").counts.toarray() == values).all()
    next(inner.glob("barcodes*")).unlink()
    with pytest.raises(DataError, match=r"Expected .*barcodes\.tsv\.gz beside the matrix"):
        open_dataset("mine.yaml", None, ArrayCache())


@pytest.mark.parametrize("form", ["parquet", "parquet_index", "header", "bare", "other order", "list with header"])
def test_positions_in_every_form(tmp_path: Path, form: str) -> None:
    values = write_visium(tmp_path / "data" / "S1")
    path = tmp_path / "data" / "S1" / "spatial" / "tissue_positions.csv"
    table = pd.read_csv(path)
    expected = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()[:12]
    if form == "parquet":
        table.to_parquet(path.with_suffix(".parquet"))
    elif form == "parquet_index":
        table.set_index("barcode").to_parquet(path.with_suffix(".parquet"))
    elif form == "bare":
        table.to_csv(path.with_name("tissue_positions_list.csv"), header=False, index=False)
    elif form == "list with header":
        table.to_csv(path.with_name("tissue_positions_list.csv"), index=False)
    elif form == "other order":
        table[table.columns[::-1]].sample(frac=1, random_state=0).to_csv(path, index=False)
    if form not in ("header", "other order"):
        path.unlink()
    section = added().load("S1")
    assert (section.counts.toarray() == values).all()
    assert section.pixel_xy is not None
    assert np.allclose(section.pixel_xy, expected)


def test_a_position_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_visium(tmp_path / "data" / "S1")
    path = tmp_path / "data" / "S1" / "spatial" / "tissue_positions.csv"
    table = pd.read_csv(path)
    table.loc[3, "array_row"] = np.nan
    table.to_csv(path, index=False)
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 2
    assert "1 of 12 spots have no position" in " ".join(result.output.split())
    assert "AAAC03-1" in result.output


def test_no_spot_under_tissue(tmp_path: Path) -> None:
    write_visium(tmp_path / "data" / "S1")
    path = tmp_path / "data" / "S1" / "spatial" / "tissue_positions.csv"
    pd.read_csv(path).assign(in_tissue=0).to_csv(path, index=False)
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 2
    assert "expected spots under tissue, but none of 14" in " ".join(result.output.split())


def write_hd(outs: Path, edge: int, seed: int = 0) -> np.ndarray:
    """A folder of bins of Visium HD: 6 x 6 bins, 20 pixels apart; returns the counts of those under tissue."""
    folder = outs / "binned_outputs" / f"square_{edge:03d}um"
    row, column = np.divmod(np.arange(36), 6)
    barcodes = [f"s_{edge:03d}um_{r:05d}_{c:05d}-1" for r, c in zip(row, column, strict=True)]
    (folder / "spatial").mkdir(parents=True)
    values = counts(36, seed=seed)
    write_tenx_h5(folder / "filtered_feature_bc_matrix.h5", values, GENES, barcodes)
    pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": [1] * 30 + [0] * 6,
            "array_row": row,
            "array_col": column,
            "pxl_row_in_fullres": 90.0 + 20 * row,
            "pxl_col_in_fullres": 110.0 + 20 * column,
        }
    ).to_parquet(folder / "spatial" / "tissue_positions.parquet")
    (folder / "spatial" / "scalefactors_json.json").write_text(
        json.dumps({"bin_size_um": edge, "microns_per_pixel": edge / 20, "spot_diameter_fullres": 20.0})
    )
    return values[:30]


def test_visium_hd_is_named_after_its_samples(tmp_path: Path) -> None:
    values = {}
    for i, name in enumerate(("HD1", "HD2")):
        outs = tmp_path / "data" / name / ("outs" if i else "")
        write_hd(outs, 2, seed=7)
        values[name] = write_hd(outs, 8, seed=i)
        write_hd(outs, 16, seed=20 + i)
        (outs / "spatial").mkdir()
    write_image(tmp_path / "data" / "HD2.png", 300, 250)
    dataset = added()
    assert ids(dataset) == ["HD1", "HD2"]
    for name, expected in values.items():
        section = dataset.load(name)
        assert (section.counts.toarray() == expected).all()
        assert section.pixel_xy is not None
        assert section.pixel_xy[7].tolist() == [130.0, 110.0]
        assert section.array_xy[7].tolist() == [1.0, 1.0]
        assert section.microns_per_pixel == pytest.approx(0.4)
    assert dataset.info("HD2").image == Path("data/HD2.png")
    for text in ("16um", "016um", "square_016um", "16"):
        assert added("--bin", text).load("HD1").microns_per_pixel == pytest.approx(0.8)


def test_bins_that_are_not_there(tmp_path: Path) -> None:
    write_hd(tmp_path / "data" / "HD1", 2)
    assert added().load("HD1").microns_per_pixel == pytest.approx(0.1)  # the only ones
    result = run(app, ["data", "add", "data", "--name", "mine", "--bin", "8um"])
    assert isinstance(result.exception, ConfigurationError)
    assert "Expected bins of 8 microns" in str(result.exception)
    assert "found 2um; choose with --bin" in str(result.exception)
    write_visium(tmp_path / "other" / "S1")
    result = run(app, ["data", "add", "other", "--name", "mine", "--bin", "8um"])
    assert "--bin chooses among the bins of Visium HD" in str(result.exception)


@pytest.mark.parametrize("text", ["0um", "8mm", "eight", "", "-8um"])
def test_what_is_no_bin(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Expected the edge of a bin in microns"):
        parse_bin(text)


@pytest.mark.parametrize("root", ["data", "data/S1", "data/S1/outs"])
def test_the_folder_may_be_given_at_any_height(tmp_path: Path, root: str) -> None:
    write_visium(tmp_path / "data" / "S1" / "outs")
    result = run(app, ["data", "add", root, "--name", "mine"])
    assert result.exit_code == 0, result.output
    assert ids(open_dataset("mine.yaml", None, ArrayCache())) == ["S1"]


def test_a_matrix_of_another_program(tmp_path: Path) -> None:
    write_visium(tmp_path / "data" / "S1")
    with h5py.File(tmp_path / "data" / "S1" / "filtered_feature_bc_matrix.h5", "w") as file:
        file.create_group("GRCh38")
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 2
    assert "it has no group 'matrix' (its groups are GRCh38)" in " ".join(result.output.split())


def test_positions_without_a_column_are_told_which(tmp_path: Path) -> None:
    path = tmp_path / "tissue_positions.csv"
    path.write_text("barcode,in_tissue,array_row,array_col,row,pxl_col_in_fullres\nA-1,1,0,0,5,5\n")
    with pytest.raises(DataError, match=r"found no pxl_row_in_fullres; copy the file again\.$"):
        read_positions(path)

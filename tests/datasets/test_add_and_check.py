"""`qbench data`: cards written from folders, checked, and run on."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.datasets.add import read_patients
from qbench.datasets.cache import ArrayCache
from qbench.datasets.check import check_dataset
from qbench.errors import ConfigurationError, DataError
from typer.testing import CliRunner

from ..support.datasets_sections import (
    GENES,
    counts,
    grid,
    write_card,
    write_h5ad,
    write_image,
    write_tables,
    write_visium,
)

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QBENCH_DATA", raising=False)


def make_h5ads(folder: Path) -> None:
    for i, name in enumerate(("S1", "S2", "S3")):
        obs = pd.DataFrame({"patient": f"P{i}"}, index=[f"spot{k}" for k in range(12)])
        write_h5ad(folder / f"{name}.h5ad", counts(seed=i), spatial=grid(), **({"obs": obs} if i < 2 else {}))
        write_image(folder / "images" / f"{name}.png", seed=i)


def test_add_finds_sections_images_and_patients(tmp_path: Path) -> None:
    make_h5ads(tmp_path / "data")
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 0, result.output
    card = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert card["reader"] == "h5ad"
    assert [(s["id"], s["patient"], s["image"]) for s in card["sections"]] == [
        ("S1", "P0", "images/S1.png"),
        ("S2", "P1", "images/S2.png"),
        ("S3", None, "images/S3.png"),
    ]
    assert "No patient is named for S3: leak-free folds cannot be promised" in " ".join(result.output.split())
    (tmp_path / "patients.csv").write_text("section,patient\nS3,P7\nS1,Q\n")
    assert run(app, ["data", "add", "data", "--name", "mine", "--patients", "patients.csv", "-q"]).exit_code == 0
    card = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert [s["patient"] for s in card["sections"]] == ["Q", "P1", "P7"]


@pytest.mark.parametrize("kind", ["visium", "tables"])
def test_add_finds_out_the_format(tmp_path: Path, kind: str) -> None:
    if kind == "visium":
        write_visium(tmp_path / "data" / "S1" / "outs")
        write_image(tmp_path / "data" / "S1.png")
    else:
        write_tables(tmp_path / "data")
    result = run(app, ["data", "add", "data", "--name", "mine", "--to", "cards/mine.yaml"])
    assert result.exit_code == 0, result.output
    card = yaml.safe_load((tmp_path / "cards" / "mine.yaml").read_text())
    assert (card["reader"], card["folder"]) == (kind, "../data")
    assert card["sections"][0]["id"] == "S1"
    found = check_dataset("cards/mine.yaml", None, ArrayCache())
    assert found.sound
    assert found.sections[0].spots == 12


def test_add_reports_a_section_that_is_not_sound(tmp_path: Path) -> None:
    write_h5ad(tmp_path / "data" / "S1.h5ad", counts() / 2.0, spatial=grid(), layers={"umi": counts()})
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 2
    assert "'layer: umi'" in " ".join(result.output.split())
    assert run(app, ["data", "add", "data", "--name", "mine", "--layer", "umi"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["empty", "--name", "a"], DataError, "found none; see docs/own-data.md"),
        (["none", "--name", "a"], DataError, "but there is none"),
        (["empty", "--name", "a/b"], ConfigurationError, "(--name) to be of letters"),
        (["empty", "--name", "a", "--format", "h5da"], ConfigurationError, "Did you mean 'h5ad'"),
    ],
)
def test_faults_of_add(tmp_path: Path, arguments: list[str], error: type[Exception], message: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run(app, ["data", "add", *arguments])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_verify_tells_what_is_wrong_and_exits_as_a_run_would(tmp_path: Path) -> None:
    make_h5ads(tmp_path)
    write_h5ad(tmp_path / "S3.h5ad", genes=tuple(f"ENSG{i:011d}" for i in range(6)), spatial=grid())
    entries = [{"id": s, "patient": s, "file": f"{s}.h5ad"} for s in ("S1", "S2", "S3")]
    write_card(tmp_path / "mine.yaml", "h5ad", entries)
    result = run(app, ["data", "verify", "mine.yaml", "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["problems"] == [
        "Gene names are Ensembl ids in S3 and symbols in S1, S2; name the column of symbols with 'symbols:' in the "
        "card."
    ]
    assert [section["umi"] for section in found["sections"]] == [int(counts(seed=i).sum()) for i in (0, 1)] + [
        int(counts().sum())
    ]
    (tmp_path / "S3.h5ad").write_bytes(b"damaged")
    result = run(app, ["data", "verify", "mine.yaml"])
    assert result.exit_code == 2
    assert "1 of 3 sections is not sound: S3" in result.output
    [line] = [line for line in result.output.splitlines() if "S3.h5ad" in line]
    assert line.startswith("Expected an AnnData file")
    assert line.endswith("is it an .h5ad?")


def test_fetch_leaves_a_complete_folder_alone(tmp_path: Path, her2st_dir: Path) -> None:
    from qbench.benchmark.cli.data_fetch import _complete

    assert not _complete("her2st", her2st_dir)  # its images are not all there
    assert not _complete("her2st", tmp_path)


def test_fetch_without_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    result = run(app, ["data", "fetch", "her2st"])
    assert isinstance(result.exception, DataError)
    assert "no network" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.real
def test_verify_the_real_folder(her2st_dir: Path) -> None:
    found = check_dataset("her2st", her2st_dir, ArrayCache())
    assert found.sound
    assert sum(section.umi for section in found.sections) == 63_083_592  # stated by the data's authors' tables
    assert sum(section.spots for section in found.sections) == 13_620


def test_lists(tmp_path: Path) -> None:
    rows = json.loads(run(app, ["data", "list", "--json"]).stdout)["datasets"]
    her2st = next(row for row in rows if row["name"] == "her2st")
    assert (her2st["sections"], her2st["fetched from"], her2st["origin"]) == (36, "github, zenodo", "qbench")
    assert GENES[0] in json.loads(run(app, ["info", "her2st", "--json"]).stdout)["markers"]["her2_amplicon"]


def damaged_images(folder: Path) -> dict[str, Path]:
    """An image of each kind, sound but for its second half; their headers are whole."""
    pixels = np.random.default_rng(0).integers(0, 255, (500, 600, 3), dtype=np.uint8)
    folder.mkdir(parents=True)
    found = {kind: folder / f"S.{kind}" for kind in ("jpg", "png", "tif", "h5")}
    Image.fromarray(pixels).save(found["jpg"])
    Image.fromarray(pixels).save(found["png"])
    tifffile.imwrite(found["tif"], pixels, tile=(128, 128), compression="zlib", photometric="rgb")
    with h5py.File(found["h5"], "w") as file:
        names = np.array([[f"spot{i}".encode()] for i in range(12)])
        file.create_dataset("barcode", data=names)
        file.create_dataset(
            "img", data=np.repeat(pixels[None, :224, :224], 12, 0), chunks=(1, 224, 224, 3), compression="gzip"
        )
    return found


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "h5"])
@pytest.mark.parametrize("damage", ["none", "truncated", "overwritten"])
def test_verify_decodes_every_image_to_its_end(tmp_path: Path, kind: str, damage: str) -> None:
    path = damaged_images(tmp_path / "images")[kind]
    whole = path.read_bytes()
    if damage == "truncated" and kind == "tif":  # whose directory stands at the end
        pytest.skip("a cut TIFF does not open at all")
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) * 3 // 4])
    elif damage == "overwritten":
        middle = len(whole) * 6 // 10
        path.write_bytes(whole[:middle] + b"\xff" * 5000 + whole[middle + 5000 :])
    write_h5ad(tmp_path / "S1.h5ad", counts(), spatial=grid())
    entry = {"id": "S1", "patient": "P1", "file": "S1.h5ad", "image": f"images/S.{kind}", "pixel_scale": 1}
    write_card(tmp_path / "mine.yaml", "h5ad", [entry])
    heard: list[tuple[str, int, int]] = []
    found = check_dataset("mine.yaml", None, ArrayCache(), lambda *news: heard.append(news)).sections[0]
    result = run(app, ["data", "verify", "mine.yaml", "--json"])
    if damage == "none":
        assert (found.problem, result.exit_code) == (None, 0)
        if kind == "tif":
            assert [news for news in heard if news[0] == "image of S1"][-1] == ("image of S1", 20, 20)
        return
    assert result.exit_code == 2
    assert f"S.{kind}" in str(found.problem)
    assert json.loads(result.stdout)["sections"][0]["problem"] == found.problem
    assert "\n" not in str(found.problem)
    assert run(app, ["data", "verify", "mine.yaml"]).exit_code == 2


def two_libraries(path: Path) -> None:
    obs = pd.DataFrame({"library_id": ["a", "b"] * 6, "patient": ["P1", "P2"] * 6}, index=[f"s{i}" for i in range(12)])
    spatial = {name: {"images": {}, "scalefactors": {"tissue_hires_scalef": 0.1}} for name in "ab"}
    write_h5ad(path, counts(), spatial=grid(), obs=obs, uns={"spatial": spatial})


def test_a_file_of_several_libraries_becomes_a_section_each(tmp_path: Path) -> None:
    two_libraries(tmp_path / "data" / "S1.h5ad")
    write_image(tmp_path / "data" / "S1_a.png")
    write_image(tmp_path / "data" / "images" / "b.png", seed=1)
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert result.exit_code == 0, result.output
    sections = yaml.safe_load((tmp_path / "mine.yaml").read_text())["sections"]
    assert [(s["id"], s["patient"], s["library"], s["image"]) for s in sections] == [
        ("S1_a", "P1", "a", "S1_a.png"),
        ("S1_b", "P2", "b", "images/b.png"),
    ]
    found = check_dataset("mine.yaml", None, ArrayCache())
    assert [section.spots for section in found.sections] == [6, 6]


def test_several_libraries_do_not_share_one_image(tmp_path: Path) -> None:
    two_libraries(tmp_path / "data" / "S1.h5ad")
    write_image(tmp_path / "data" / "S1.png")
    result = run(app, ["data", "add", "data", "--name", "mine"])
    assert isinstance(result.exception, DataError)
    assert "2 libraries (a, b), parted by obs['library_id']" in str(result.exception)
    assert "adata[adata.obs['library_id'] == 'a'].write_h5ad('a.h5ad')" in str(result.exception)
    assert "S1.png can be the image of one of them only" in str(result.exception)


def test_bins_are_for_formats_that_have_some(tmp_path: Path) -> None:
    make_h5ads(tmp_path / "data")
    result = run(app, ["data", "add", "data", "--name", "mine", "--bin", "8um"])
    assert isinstance(result.exception, ConfigurationError)
    assert "--bin is for visium" in str(result.exception)


def test_a_table_of_patients_with_other_columns_is_told_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("section;patient\nS1;P1\n")
    with pytest.raises(
        DataError, match=r"found no section, patient \(its first line holds 'section;patient'\); .* comma"
    ):
        read_patients(path)

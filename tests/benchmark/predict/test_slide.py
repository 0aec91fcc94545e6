"""Fit on all patients, predict a slide."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.inputs import prepare
from qbench.benchmark.predict import grid as grids
from qbench.benchmark.predict import model as models
from qbench.benchmark.predict import output as outputs
from qbench.benchmark.predict import window_store as slides
from qbench.benchmark.predict.fit import all_patients_fold, fit_model
from qbench.benchmark.predict.model import load_model, read_fit
from qbench.benchmark.predict.parts import Parts
from qbench.benchmark.predict.slide import predict_slide
from qbench.benchmark.settings import RunSettings
from qbench.datasets.cache import ArrayCache
from qbench.datasets.cohort import SealedSection
from qbench.datasets.registry import SectionInfo, open_dataset
from qbench.errors import ConfigurationError, DataError, IntegrityError
from qbench.methods.encoders.registry import resolve
from typer.testing import CliRunner

from ...support.datasets_sections import GENES
from ...support.slide_images import SCALE, stained_dataset, tiled


def write_image_of(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients, one section each, twelve spots on a stained image."""
    return stained_dataset(tmp_path_factory.mktemp("data"), 3)


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    fit_model(RunSettings(methods=("colour",), dataset=str(data)), data.parent / "model")
    return data.parent / "model"


def test_validation_is_the_last_patient_else_the_last_section_else_a_fifth_of_the_spots() -> None:
    def infos(**owners: str) -> list[SectionInfo]:
        return [SectionInfo(name, patient, None, False, name) for name, patient in owners.items()]

    fold = all_patients_fold(infos(a="P1", b="P3", c="P2", d="P3"))
    assert ([p.section for p in fold.train], [p.section for p in fold.validation]) == (["a", "c"], ["b", "d"])
    fold = all_patients_fold(infos(a="P1", b="P2", c="P1"))
    assert ([p.section for p in fold.train], [p.section for p in fold.validation]) == (["a", "b"], ["c"])
    fold = all_patients_fold(infos(a="P1"))
    assert [(p.section, p.portion) for p in (*fold.train, *fold.validation)] == [("a", "near"), ("a", "far")]


def test_a_models_folder_says_what_it_reads(model: Path) -> None:
    assert sorted(path.name for path in model.iterdir()) == ["fit.json", "method.json", "model.safetensors"]
    record = read_fit(model)
    assert record.train == {"S0": "P0", "S1": "P1"}
    assert record.validation == {"S2": "P2"}
    assert set(record.panel.genes) == set(GENES)
    assert (record.microns_per_pixel, record.patch.size) == (SCALE, 224)
    assert record.encoders["rgb"]["weights"] == "none"
    assert str(model.parent) not in (model / "fit.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "stain"),
    [("colour", "none"), ("ridge", "none"), ("colour", "macenko"), ("triplex[epochs=2]", "grey")],
)
def test_a_training_sections_own_spots_are_predicted_as_the_harness_does(
    data: Path, tmp_path: Path, method: str, stain: Any
) -> None:
    """The slide's way (regions, windows, encoders found again) against the harness's (cached patches and features)."""
    folder = tmp_path / "model"
    fit_model(RunSettings(methods=(method,), dataset=str(data), stain=stain), folder)
    assert read_fit(folder).patch.stain == stain
    cache = ArrayCache()
    dataset = open_dataset(str(data), None, cache)
    section = dataset.load("S1")
    fitted = load_model(folder, {}, "auto", "auto")
    views = {"": fitted.inputs.views}
    store = prepare(dataset, ["S1"], fitted.encoders, fitted.record.patch, cache, views=views)
    sealed = SealedSection(
        "S1", "P1", fitted.record.panel.genes, section.spots, section.array_xy, section.pixel_xy, SCALE, None, store
    )
    due = np.maximum(fitted.method.predict(sealed), 0)
    assert section.pixel_xy is not None
    lines = [f"{name},{x},{y}" for name, (x, y) in zip(section.spots, section.pixel_xy, strict=True)]
    (tmp_path / "spots.csv").write_text("\n".join(["spot,x,y", *lines]))
    predict_slide(
        folder, data.parent / "S1.png", tmp_path / "out.h5ad", spots=tmp_path / "spots.csv", microns_per_pixel=SCALE
    )
    found = anndata.read_h5ad(tmp_path / "out.h5ad")[list(section.spots)]
    assert list(found.var_names) == list(fitted.record.panel.genes)
    assert np.allclose(found.X, due, atol=2e-5)
    assert found.X.std() > 0
    assert (found.layers["counts"] == np.rint(np.expm1(found.X.astype(np.float64))).astype(np.int64)).all()
    assert found.layers["counts"].dtype == np.int64
    assert (found.obsm["spatial"] == section.pixel_xy).all()


def test_twice_the_resolution_gives_patches_of_the_same_size_in_microns(
    model: Path, data: Path, tmp_path: Path
) -> None:
    fine = Image.open(data.parent / "S1.png").resize((1400, 1200), Image.Resampling.NEAREST)
    fine.save(tmp_path / "fine.png")
    done = {}
    for name, image, scale in (("coarse", data.parent / "S1.png", 0.5), ("fine", tmp_path / "fine.png", 0.25)):
        predict_slide(model, image, tmp_path / f"{name}.h5ad", grid="60um", microns_per_pixel=scale)
        done[name] = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
    shared = list(set(done["coarse"].obs_names) & set(done["fine"].obs_names))
    assert len(shared) > 5
    assert np.allclose(done["coarse"][shared].X, done["fine"][shared].X, atol=0.05)
    assert np.allclose(done["coarse"][shared].obsm["spatial"] * 2, done["fine"][shared].obsm["spatial"])


def test_a_grid_lies_on_tissue_only(model: Path, data: Path, tmp_path: Path) -> None:
    done = predict_slide(model, data.parent / "S0.png", tmp_path / "out.h5ad", grid="20um", microns_per_pixel=SCALE)
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    xy = found.obsm["spatial"]
    assert done.points == len(found)
    # tissue spans 175..525 by 150..450; a patch of 224 pixels holds half of tissue if its centre lies within, or nearly
    assert xy[:, 0].min() > 150
    assert xy[:, 0].max() < 550
    assert len(found) < 0.5 * (700 / 40) * (600 / 40)
    assert set(np.unique(np.diff(np.unique(xy[:, 0]))).round(6)) == {40.0}
    assert found.uns["spatial"]["slide"]["images"]["hires"].shape == (600, 700, 3)


def test_a_slide_is_read_by_region_and_states_its_own_scale(model: Path, data: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(data.parent / "S1.png"))
    slide = tiled(tmp_path / "s.tif", pixels, SCALE)
    predict_slide(model, slide, tmp_path / "slide.h5ad", grid="80px")
    predict_slide(model, data.parent / "S1.png", tmp_path / "png.h5ad", grid="80px", microns_per_pixel=SCALE)
    a, b = anndata.read_h5ad(tmp_path / "slide.h5ad"), anndata.read_h5ad(tmp_path / "png.h5ad")
    assert list(a.obs_names) == list(b.obs_names)
    assert np.allclose(a.X, b.X, atol=1e-6)
    done = predict_slide(model, slide, tmp_path / "other.h5ad", grid="80px", microns_per_pixel=1.0)
    assert (
        "--microns-per-pixel says 1, the TIFF's resolution in s.tif says 0.5; 1 is taken, because you stated it"
        in done.notes[0]
    )


def test_windows_do_not_change_what_is_predicted(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_slide(model, data.parent / "S0.png", tmp_path / "one.h5ad", grid="20um", microns_per_pixel=SCALE)
    monkeypatch.setattr(grids, "WINDOW", 3)
    predict_slide(model, data.parent / "S0.png", tmp_path / "many.h5ad", grid="20um", microns_per_pixel=SCALE)
    one, many = anndata.read_h5ad(tmp_path / "one.h5ad"), anndata.read_h5ad(tmp_path / "many.h5ad")
    assert (one.obs["window"].nunique(), many.obs["window"].nunique()) == (1, 9)
    assert np.allclose(one.X, many[one.obs_names].X, atol=1e-6)
    xy = many.obsm["spatial"]
    for _, rows in many.obs.reset_index().groupby("window"):
        assert np.ptp(xy[rows.index], axis=0).max() <= 2 * 40


def test_a_killed_prediction_goes_on(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grids, "WINDOW", 3)
    image, output = data.parent / "S0.png", tmp_path / "out.h5ad"
    whole = predict_slide(model, image, tmp_path / "whole.h5ad", grid="20um", microns_per_pixel=SCALE)
    read, calls = slides.read_patches, []

    def dies(*arguments: object) -> Iterator[np.ndarray]:
        for patch in read(*arguments):  # type: ignore[arg-type]
            calls.append(1)
            if len(calls) > 30:
                raise KeyboardInterrupt
            yield patch

    monkeypatch.setattr(slides, "read_patches", dies)
    with pytest.raises(KeyboardInterrupt):
        predict_slide(model, image, output, grid="20um", microns_per_pixel=SCALE)
    assert not output.exists()
    monkeypatch.setattr(slides, "read_patches", read)
    done = predict_slide(model, image, output, grid="20um", microns_per_pixel=SCALE)
    assert done.resumed >= 2
    assert done.points == whole.points
    assert np.allclose(anndata.read_h5ad(output).X, anndata.read_h5ad(tmp_path / "whole.h5ad").X, atol=1e-6)
    assert [path.name for path in tmp_path.glob(".*")] == []
    # another grid is another task: nothing of the first is taken
    assert predict_slide(model, image, output, grid="30um", microns_per_pixel=SCALE).resumed == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigurationError, "either --grid, for example 200um, or --spots"),
        (
            {"grid": "200um"},
            ConfigurationError,
            "S0.png does not state its microns per pixel.*give --microns-per-pixel",
        ),
        (
            {"grid": "200", "microns_per_pixel": 1.0},
            ConfigurationError,
            "as a length such as 200um or 290px, found '200'",
        ),
        ({"grid": "9mm", "microns_per_pixel": 1.0}, ConfigurationError, "found '9mm'"),
        ({"grid": "90000px", "microns_per_pixel": 1.0}, ConfigurationError, "no point in a slide of 700 x 600"),
        ({"grid": "0.000001px", "microns_per_pixel": 1.0}, ConfigurationError, "4.2e.17 points .* make it coarser"),
        ({"grid": "9px", "microns_per_pixel": float("inf")}, ConfigurationError, "0.05 to 5 microns per pixel, but"),
        ({"grid": "9px", "microns_per_pixel": 7.0}, ConfigurationError, "0.05 to 5 microns per pixel, but"),
    ],
)
def test_what_is_asked_for_must_be_clear(
    model: Path, data: Path, tmp_path: Path, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        predict_slide(model, data.parent / "S0.png", tmp_path / "out.h5ad", **options)


def test_a_slide_of_bare_glass(model: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(240, 1.5, (400, 500, 3))
    Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "glass.png")
    with pytest.raises(DataError, match="Expected stained tissue"):
        predict_slide(model, tmp_path / "glass.png", tmp_path / "out.h5ad", grid="40px", microns_per_pixel=SCALE)


def test_listed_spots_come_out_in_the_order_and_by_the_names_of_the_table(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several windows, and blocks that are written, however the rows stand."""
    monkeypatch.setattr(grids, "WINDOW", 2)
    monkeypatch.setattr(outputs, "_BLOCK", 5)
    xy = np.array([(x, y) for x in range(120, 600, 60) for y in range(120, 500, 60)])
    shuffled = np.random.default_rng(3).permutation(len(xy))
    names = [f"spot {100 - i}" for i in range(len(xy))]  # neither sorted nor in the order of the places
    done = {}
    for kind, order in (("plain", np.arange(len(xy))), ("shuffled", shuffled)):
        lines = [f"{names[i]},{xy[i, 0]},{xy[i, 1]}" for i in order]
        (tmp_path / "spots.csv").write_text("\n".join(["spot,x,y", *lines]))
        image, output = data.parent / "S0.png", tmp_path / f"{kind}.h5ad"
        predict_slide(model, image, output, spots=tmp_path / "spots.csv", microns_per_pixel=SCALE)
        done[kind] = anndata.read_h5ad(output)
        assert list(done[kind].obs_names) == [names[i] for i in order]
        assert (done[kind].obsm["spatial"] == xy[order]).all()
    assert done["plain"].obs["window"].nunique() > 4
    again = done["shuffled"][list(done["plain"].obs_names)]
    assert np.array_equal(again.X, done["plain"].X)
    assert np.array_equal(again.layers["counts"], done["plain"].layers["counts"])
    assert len(np.unique(done["plain"].X[:, 0])) > len(xy) / 2  # so that a wrong order would be seen


def test_spots_outside_the_image(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "spots.csv").write_text("spot,x,y\na,100,100\nb,9000,100\n")
    with pytest.raises(DataError, match=r"1 of 2 spots .*\(the first is b at 9000, 100\)"):
        predict_slide(
            model, data.parent / "S0.png", tmp_path / "o.h5ad", spots=tmp_path / "spots.csv", microns_per_pixel=1
        )


def test_a_folder_that_is_no_model_and_weights_that_changed(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make one with 'qbench fit'"):
        load_model(tmp_path, {}, "auto", "auto")
    other = tmp_path / "model"
    other.mkdir()
    for path in model.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    record = json.loads((other / "fit.json").read_text())
    record["encoders"]["rgb"]["weights"] = "f" * 64
    (other / "fit.json").write_text(json.dumps(record))
    with pytest.raises(ConfigurationError, match="Expected encoder 'rgb' with weights ffffffffffff"):
        load_model(other, {}, "auto", "auto")


def test_a_model_of_the_first_schema_is_read(model: Path, tmp_path: Path) -> None:
    record = json.loads((model / "fit.json").read_text())
    assert record["schema_version"] == 2
    del record["identity"]
    (tmp_path / "fit.json").write_text(json.dumps(record | {"schema_version": 1}))
    assert read_fit(tmp_path).identity == {}


def test_fit_refuses_a_folder_of_other_things_and_several_methods(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="found other files"):
        fit_model(RunSettings(methods=("mean",), dataset=str(data)), tmp_path)
    with pytest.raises(ConfigurationError, match="Fit one method with one seed"):
        fit_model(RunSettings(methods=("mean", "ridge"), dataset=str(data)), tmp_path / "new")


def test_the_command_line_and_maps(data: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    to = str(tmp_path / "model")
    result = run(app, ["fit", "colour", "--dataset", str(data), "--target", "proportion", "--to", to, "-q"])
    assert result.exit_code == 0, result.output
    output = str(tmp_path / "out.h5ad")
    arguments = [
        "predict",
        "--model",
        to,
        "--image",
        str(data.parent / "S0.png"),
        "--grid",
        "30um",
        "--microns-per-pixel",
        "0.5",
    ]
    result = run(app, [*arguments, "--output", output, "--maps", "ERBB2,VWF"])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out-ERBB2.png") as found:
        assert min(found.size) > 300
    assert (tmp_path / "out-VWF.png").exists()
    assert "counts" not in anndata.read_h5ad(output).layers  # proportions are no counts
    result = run(app, [*arguments, "--output", output, "--maps", "ERBB"])
    assert "Did you mean 'ERBB2'" in str(result.exception)


# --- a slide larger than memory -------------------------------------------------------------------------------------------


def write_huge(path: Path, edge: int) -> Path:
    """A pyramidal, sparse tiled TIFF: tissue in the middle quarter of each edge, bare glass (absent tiles) around it."""
    glass = np.full((256, 256, 3), 245, np.uint8)
    tile = np.clip(np.random.default_rng(0).normal((190, 110, 170), 12, (256, 256, 3)), 0, 255).astype(np.uint8)

    def tiles(size: int) -> Iterator[np.ndarray | None]:
        n = -(-size // 256)
        for row in range(n):
            for column in range(n):
                inside = all(abs(i + 0.5 - n / 2) < n / 8 for i in (row, column))
                yield tile if inside else glass if row == column == 0 else None  # the first tells the writer the type

    sizes = [edge]
    while sizes[-1] > 2048:
        sizes.append(sizes[-1] // 2)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for i, size in enumerate(sizes):
            own = (
                {"subifds": len(sizes) - 1, "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
                if not i
                else {"subfiletype": 1}
            )
            file.write(
                tiles(size),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                **own,
            )
    return path


def peak_memory(model: Path, slide: Path, output: Path) -> float:
    """Largest resident size in MB of a process that predicts a slide."""
    code = (
        "import resource, sys; from pathlib import Path; from qbench.benchmark.predict.slide import predict_slide\n"
        "done = predict_slide(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), grid='200um')\n"
        "print(done.points, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)"
    )
    command = [sys.executable, "-c", code, str(model), str(slide), str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=output.parent)
    points, peak = result.stdout.split()
    assert int(points) > 0
    return float(peak)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(model: Path, tmp_path: Path) -> None:
    edges = (4_000, 100_000 if os.environ.get("QBENCH_TEST_HUGE") else 20_000)
    peaks = [
        peak_memory(model, write_huge(tmp_path / f"{edge}.tif", edge), tmp_path / f"{edge}.h5ad") for edge in edges
    ]
    # decoded whole, the larger one would take 1,200 MB (30,000 MB) more
    assert peaks[1] - peaks[0] < 200, peaks


def test_a_model_that_is_not_the_one_that_was_fitted_is_refused(model: Path, tmp_path: Path) -> None:
    record = json.loads((model / "fit.json").read_text())
    assert set(record["files"]) == {"method.json", "model.safetensors"}
    for name, change in {
        "model.safetensors": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        "method.json": lambda content: content.replace(b'"auto"', b'"best"') + b" ",
        "fit.json": lambda content: content.replace(b'"size": 224', b'"size": 225'),
    }.items():
        other = tmp_path / name
        shutil.copytree(model, other)
        (other / name).write_bytes(change((other / name).read_bytes()))
        with pytest.raises(IntegrityError, match=rf"{name} as .*sha256 differs"):
            load_model(other, {}, "auto", "auto")
    (other / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_model(other, {}, "auto", "auto")


@pytest.mark.parametrize("damage", ["empty identity", "cut", "foreign", "flipped", "no checksum"])
def test_parts_of_a_killed_prediction_that_are_damaged_are_made_again(tmp_path: Path, damage: str) -> None:
    parts = Parts(tmp_path / "out.h5ad", "mine")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    parts.save(0, values)
    assert Parts(tmp_path / "out.h5ad", "mine").done(0, (3, 4))
    path = parts.path(0)
    if damage == "empty identity":
        (parts.folder / "identity.json").write_text("")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:150])
    elif damage == "foreign":
        np.save(path, np.zeros((3, 5), np.float32))
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.with_suffix(".sha256").unlink()
    again = Parts(tmp_path / "out.h5ad", "mine")
    assert not again.done(0, (3, 4))
    again.save(0, values)
    assert again.done(0, (3, 4))
    np.testing.assert_array_equal(again.load(0), values)


def test_a_trained_network_is_loaded_onto_the_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_model(RunSettings(methods=("stnet",), encoder="rgb", dataset=str(data), max_epochs=1), tmp_path / "model")
    kinds = {
        where.type
        for where in (p.device for p in load_model(tmp_path / "model", {}, "cpu", "auto").method.network.parameters())
    }
    assert kinds == {"cpu"}
    monkeypatch.setattr(models, "resolve_device", lambda asked: {"cuda": "meta"}[asked])
    monkeypatch.setattr(models, "resolve", lambda *asked: resolve(asked[0], asked[1], "cpu", asked[3]))
    moved = load_model(tmp_path / "model", {}, "cuda", "auto").method.network
    assert {p.device.type for p in moved.parameters()} == {"meta"}

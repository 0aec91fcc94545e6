"""The commands and the Python of docs/hest-bench, own-data, own-method, predict and protocols, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from qbench.datasets.protocol import ProtocolFile
from qbench.datasets.registry import DatasetCard

from ..benchmark.predict.test_slide import write_image_of
from ..methods.test_convert import genes_file, histogene_checkpoint
from ..support.datasets_sections import counts, grid, write_h5ad
from ..support.hest_task import write_task
from ..support.places import ROOT
from ..support.slide_images import stained

DOCS = ROOT / "docs"
MINE = ("hest-bench", "own-data", "own-method", "predict", "protocols", "transfer")
QBENCH = shutil.which("qbench", path=str(Path(sys.executable).parent)) or "qbench"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)


def commands(page: str) -> list[str]:
    return [
        line.split("  #")[0].strip() for block in blocks(page, "bash") for line in block.splitlines() if line.strip()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: a folder of sections, a table of patients, a method, a slide, predictions."""
    here = tmp_path_factory.mktemp("docs")
    for i, name in enumerate(("S1", "S2", "S3", "S4")):
        path = write_h5ad(here / "sections" / f"{name}.h5ad", counts(seed=i), spatial=grid(pitch=120, start=140))
        write_image_of(stained(700, 600, i), path.parent / "images" / f"{name}.png")
    rows = {"section": ["S1", "S2", "S3", "S4"], "patient": ["P1", "P2", "P3", "P3"]}
    pd.DataFrame(rows).to_csv(here / "patients.csv", index=False)
    for i, name in enumerate(("T1", "T2")):  # another dataset
        path = write_h5ad(here / "others" / f"{name}.h5ad", counts(seed=10 + i), spatial=grid(pitch=120, start=140))
        write_image_of(stained(700, 600, 10 + i), path.parent / "images" / f"{name}.png")
    pd.DataFrame({"section": ["T1", "T2"], "patient": ["Q1", "Q2"]}).to_csv(here / "others.csv", index=False)
    (here / "my.py").write_text(blocks("own-method", "python")[0])
    (here / "near.py").write_text(blocks("own-method", "python")[1])
    (here / "two-groups.yaml").write_text(blocks("protocols", "yaml")[0])
    scale = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(here / "slide.tif", stained(900, 800), tile=(256, 256), photometric="rgb", **scale)
    histogene_checkpoint(here)  # last.ckpt
    genes_file(here, 9)
    write_task(here / "hest-bench" / "IDC", spots=12)
    qbench(here, "qbench data add sections --name mine --patients patients.csv")
    qbench(here, "qbench data add others --name theirs --patients others.csv")
    return here


def qbench(here: Path, command: str, code: int = 0) -> str:
    arguments = shlex.split(command)
    assert arguments[0] == "qbench"
    done = subprocess.run([QBENCH, *arguments[1:]], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def briefly(command: str) -> str:
    """The command with one epoch and two of the methods where training takes the time: what its flags do, it does."""
    long = "demo-shifted" in command or command.startswith("qbench fit istar")
    return f"{command.replace('ridge,colour,stnet,bleep,qca', 'ridge,bleep')} --max-epochs 1" if long else command


def is_real(command: str) -> bool:
    """On files that are not here, or on a demo whose images take long."""
    return "her2st" in command or "demo-shifted" in command


@pytest.mark.slow
@pytest.mark.parametrize("page", MINE)
def test_commands_run_as_they_stand(folder: Path, page: str) -> None:
    found = [command for command in commands(page) if not is_real(command)]
    assert found
    for command in found:
        if command.startswith("qbench score predictions"):
            _write_predictions(folder)
        if command.startswith("qbench fit"):  # the cards of these tests know no scale until it is stated
            path = folder / "mine.yaml"
            if "microns_per_pixel" not in path.read_text():
                path.write_text(path.read_text().replace("  image:", "  microns_per_pixel: 0.5\n  image:"))
        qbench(folder, briefly(command))
    made = {
        "hest-bench": ["runs"],
        "own-data": ["mine.yaml", "runs"],
        "own-method": ["splits/folds.csv", "runs"],
        "predict": [
            "model/fit.json",
            "slide.h5ad",
            "slide.zarr/zarr.json",
            "slide-ERBB2.png",
            "slide-8um-ERBB2.png",
            "slide-8um.ome.tif",
        ],
        "protocols": ["splits/panels.csv", "runs"],
        "transfer": ["model/fit.json", "theirs.h5ad", "runs"],
    }
    for name in made[page]:
        assert (folder / name).exists(), name


def _write_predictions(folder: Path) -> None:
    """Predictions of every test spot and panel gene of the exported protocol."""
    folds, panels = pd.read_csv(folder / "splits/folds.csv"), pd.read_csv(folder / "splits/panels.csv")
    tested = folds[folds["role"] == "test"].merge(panels[["fold", "gene"]], on="fold")
    tested["prediction"] = np.random.default_rng(0).uniform(0, 2, len(tested)).round(3)
    tested[["section", "spot", "gene", "prediction"]].to_csv(folder / "predictions.csv", index=False)


@pytest.mark.slow
@pytest.mark.real
def test_commands_on_her2st_run_as_they_stand(folder: Path, her2st_dir: Path) -> None:
    if not (folder / "her2st").exists():
        os.symlink(her2st_dir, folder / "her2st")
    # ST-Net's own cohort is not here; tests/benchmark/engine/test_transfer.py trains on one dataset and tests on another.
    found = [
        command for page in MINE for command in commands(page) if is_real(command) and "--data-dir stnet" not in command
    ]
    assert sum(command.startswith("qbench predict") for command in found) == 1
    for command in dict.fromkeys(found):  # each once, though a page may say it twice
        qbench(folder, briefly(command))
    assert (folder / "c4.h5ad").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["own-data", "predict"])
def test_python_runs_as_it_stands(folder: Path, page: str) -> None:
    if page == "predict":
        qbench(folder, "qbench fit colour --dataset mine.yaml --to model -q")
    for code in blocks(page, "python"):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pytest.mark.slow
def test_cards_and_protocols_are_as_the_pages_say(folder: Path) -> None:
    import yaml

    card = DatasetCard.model_validate(yaml.safe_load(blocks("own-data", "yaml")[0]))
    assert card.sections[0].pixel_scale == 1
    assert ProtocolFile.model_validate(yaml.safe_load(blocks("protocols", "yaml")[0])).unit == "patient"


@pytest.mark.parametrize("page", MINE)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (DOCS / f"{page}.md").read_text(encoding="utf-8")):
        assert target.startswith("http") or (DOCS / target).exists(), target


@pytest.mark.slow
def test_json_of_the_documented_run(folder: Path) -> None:
    out = qbench(folder, "qbench run --methods mean --dataset mine.yaml --no-images --json")
    assert json.loads(out)["tables"][0]["dataset"] == "mine"

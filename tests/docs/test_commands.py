"""Every command of README.md and docs: run as it stands, planned, or held against the command line, and which is which."""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import typer
from qbench.benchmark.cli.entry import app

from ..benchmark.predict.test_slide import write_image_of
from ..support.datasets_sections import counts, grid, write_h5ad
from ..support.places import ROOT
from ..support.slide_images import stained
from ..support.tiny_her2st import make as make_tiny
from .test_own import MINE

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
QBENCH = shutil.which("qbench", path=str(Path(sys.executable).parent)) or "qbench"
LONG = "trains for minutes"

# The fenced commands of README.md in its order; those of the pages in MINE are run by test_docs_own. "run": as it stands, on a
# tiny dataset in HER2ST's layout. ("plan", why): with --dry-run. ("parse", why): arguments only. ("theirs", why): not ours.
README = {
    "pip install .": ("theirs", "the wheel is built and installed in CI"),
    "qbench run --methods qca,bleep": ("plan", LONG),
    "pip install '.[test]'": ("theirs", "the wheel is built and installed in CI"),
    "pytest": ("theirs", "this is it"),
    "qbench data fetch her2st --to her2st": ("parse", "a network; test_datasets_download fetches from a server of its own"),
    "qbench run --methods qca,stnet,histogene,bleep,ridge,colour,mean --dataset her2st --data-dir her2st --seeds 0,1,2": ("plan", LONG),
    "qbench leaderboard --detail": "run",
    "qbench leaderboard --format html --output board.html": "run",
    "qbench verify runs": "run",
    "qbench reproduce runs/*/ridge-*": "run",
    "qbench data add my-sections --name mine --to mine.yaml": "run",
    "qbench run --methods qca,ridge --dataset mine.yaml": "run",
    "qbench check my.py:MyMethod": "run",
    "qbench run --methods my-method,ridge --plugin my.py:MyMethod": ("plan", "the demo's images take a minute; own-method.md runs it"),
    "qbench score predictions.csv --dataset her2st --data-dir her2st --scale log1p": "run",
    "qbench fit ridge --dataset her2st --data-dir her2st --to model": "run",
    "qbench predict --model model --image slide.tif --grid 200um --output slide.h5ad": "run",
}  # fmt: skip


def fenced(page: Path) -> list[str]:
    """The commands of a page's fenced shell blocks, without their comments; `a && b` is two."""
    blocks = re.findall(
        r"^```(?:bash|sh|shell|console)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = [re.split(r"(?:^|\s)#\s", line)[0].strip() for block in blocks for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split(" && ") if part.strip()]


def spans(page: Path) -> list[str]:
    """The commands that a page's sentences mention."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(found.split()) for found in re.findall(r"`(qbench [^`]+)`", text)]


def understood(arguments: list[str], placeholders: bool = False) -> None:
    """Whether the command line takes these arguments; of a mention, whether it has the command and the options named."""
    command: Any = typer.main.get_command(app)
    words = list(arguments)
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{command.name} has no option {word}"
    if not placeholders:
        command.make_context(command.name, words)


def test_every_fenced_command_is_listed_here() -> None:
    found = set(fenced(ROOT / "README.md"))
    assert found == set(README)
    with_commands = {page.stem for page in PAGES[1:] if fenced(page)}
    assert with_commands == set(MINE), "test_docs_own runs the commands of these pages"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_ours_is_understood(page: Path) -> None:
    for command in fenced(page):
        if command.startswith("qbench "):
            understood(shlex.split(command)[1:])
    for mention in spans(page):
        # [--json] is an option that may be given, [a|b] a choice, NAME a placeholder.
        understood([word.strip("[].,") for word in mention.split()[1:] if "|" not in word], placeholders=True)


def test_an_unknown_command_or_option_would_be_seen() -> None:
    for command in (
        "qbench rnu",
        "qbench data ftch her2st",
        "qbench run --metods qca",
        "qbench leaderboard --fromat html",
    ):
        with pytest.raises(AssertionError, match=r"there is no command|has no option"):
            understood(shlex.split(command)[1:], placeholders=True)
    with pytest.raises(Exception, match="model"):
        understood(["predict", "--image", "slide.tif"])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README speaks of: HER2ST's layout, sections, a method, a slide, runs of ridge and QCA, predictions."""
    here = tmp_path_factory.mktemp("readme")
    make_tiny(here / "her2st", sections=("A1", "B1", "C1"), side=4)
    for i in range(3):
        obs = pd.DataFrame({"patient": f"P{i}"}, index=[f"spot{k}" for k in range(12)])
        path = write_h5ad(
            here / "my-sections" / f"S{i}.h5ad", counts(seed=i), spatial=grid(pitch=120, start=140), obs=obs
        )
        write_image_of(stained(700, 600, i), path.parent / "images" / f"S{i}.png")
    scale = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(here / "slide.tif", stained(2400, 2000), tile=(256, 256), photometric="rgb", **scale)
    python = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "own-method.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (here / "my.py").write_text(python[0])
    qbench(here, "qbench run --methods ridge,qca --dataset her2st --data-dir her2st --max-epochs 2 -q")
    qbench(here, "qbench protocol export --to splits --dataset her2st --data-dir her2st")
    folds, panels = pd.read_csv(here / "splits/folds.csv"), pd.read_csv(here / "splits/panels.csv")
    tested = folds[folds["role"] == "test"].merge(panels[["fold", "gene"]], on="fold")
    tested["prediction"] = np.random.default_rng(0).uniform(0, 2, len(tested)).round(3)
    tested[["section", "spot", "gene", "prediction"]].to_csv(here / "predictions.csv", index=False)
    return here


def qbench(here: Path, command: str) -> str:
    """Run a command as a shell would; a record of HER2ST finds its files through QBENCH_DATA."""
    words = [part for word in shlex.split(command)[1:] for part in (sorted(glob.glob(word, root_dir=here)) or [word])]
    env = {**os.environ, "QBENCH_DATA": "her2st"}
    done = subprocess.run([QBENCH, *words], cwd=here, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command, how in README.items() if how == "run"])
def test_commands_of_the_readme_run_as_they_stand(here: Path, command: str) -> None:
    if "mine.yaml" in command and "data add" not in command and not (here / "mine.yaml").exists():
        qbench(here, "qbench data add my-sections --name mine --to mine.yaml")
    if command.startswith("qbench predict") and not (here / "model").exists():
        qbench(here, "qbench fit ridge --dataset her2st --data-dir her2st --to model")
    said = qbench(here, command)
    made = {"--output": (r"--output (\S+)", here), "--to": (r"--to (\S+)", here)}
    for option, (pattern, folder) in made.items():
        if option in command:
            match = re.search(pattern, command)
            assert match is not None
            assert (folder / match[1]).exists()
    expected = {
        "qbench leaderboard --detail": "ridge",
        "qbench verify": "0 problems",
        "qbench reproduce": ": equal",
        "qbench run --methods qca": "ridge",
        "qbench check": "promises kept",
        "qbench score": "predictions",
    }
    for start, words in expected.items():
        if command.startswith(start):
            assert words in said


@pytest.mark.slow
@pytest.mark.parametrize("command", [command for command, how in README.items() if how[0] == "plan"])
def test_long_commands_of_the_readme_are_planned(here: Path, command: str) -> None:
    assert re.search(r"cells, \d+ to read, \d+ to run", qbench(here, f"{command} --dry-run"))


@pytest.mark.slow
def test_what_the_sentences_name_can_be_asked_for(here: Path) -> None:
    assert "pcc_hvg: qca − ridge" in qbench(here, "qbench compare qca ridge")
    assert "qca" in qbench(here, "qbench info qca")
    assert qbench(here, "qbench doctor")

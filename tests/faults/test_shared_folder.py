"""A second user of a machine reads, verifies and predicts from a folder that the first one wrote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.datasets_sections import counts, grid, write_card, write_h5ad, write_image

QBENCH = [sys.executable, "-P", "-c", "from qbench.benchmark.cli.start import main; main()"]
OTHER = (
    65534  # "nobody" wherever Unix has one: the files are made his, and root without its privileges is the second user
)
SECOND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, and setpriv of util-linux"
    ),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that all users may enter: those of pytest are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="qbench-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def call(words: list[str], folder: Path, cache: Path, second: bool = False) -> str:
    done = subprocess.run(
        [*(SECOND if second else ()), *QBENCH, *words], cwd=folder, env={**os.environ, "QBENCH_CACHE": str(cache)},
        capture_output=True, text=True, timeout=300, umask=0o022,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


def test_a_second_user_reads_verifies_and_predicts(place: Path) -> None:
    entries = []
    for i in range(3):
        write_h5ad(place / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"})
    card = str(write_card(place / "mine.yaml", "h5ad", entries))
    image = write_image(place / "S0.png")
    call(["run", "-m", "coordinates", "--no-images", "--dataset", card, "--out", "runs"], place, place / "cache")
    call(["fit", "coordinates", "--dataset", card, "--to", "model"], place, place / "cache")
    secret = place / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)
    for path in (place, *place.rglob("*")):
        os.chown(path, OTHER, OTHER)
    assert subprocess.run([*SECOND, "cat", str(secret)], capture_output=True, check=False).returncode == 1
    with tempfile.TemporaryDirectory() as theirs:
        folder = Path(theirs)
        assert "coordinates" in call(["leaderboard", str(place / "runs")], folder, folder / "cache", second=True)
        told = call(["verify", str(place / "runs")], folder, folder / "cache", second=True)
        assert "3 cells verified, 0 problems" in told
        words = ["predict", "--model", str(place / "model"), "--image", str(image), "--grid", "40px"]
        words += ["--microns-per-pixel", "0.5", "--output", "out.h5ad"]
        call(words, folder, folder / "cache", second=True)
        assert (folder / "out.h5ad").is_file()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_is_one_sentence(place: Path, kind: str) -> None:
    path = place / "card.yaml"
    path.write_text("name: mine") if kind == "file" else path.mkdir()
    path.chmod(0)
    os.chown(path, OTHER, OTHER)
    words = [*SECOND, *QBENCH, "run", "-m", "mean", "--dry-run", "--dataset", str(path)]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "card.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1

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
from qbench.errors import DataError
from qbench.text_files import read_text

from ..support.datasets_sections import counts, grid, write_card, write_h5ad, write_image

QBENCH = [sys.executable, "-P", "-c", "from qbench.benchmark.cli.start import main; main()"]
OTHER = 65534  # "nobody" wherever Unix has one
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that all users may enter: those of pytest are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="qbench-shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def call(words: list[str], folder: Path, cache: Path, **user: int) -> str:
    done = subprocess.run(
        [*QBENCH, *words], cwd=folder, env={**os.environ, "QBENCH_CACHE": str(cache), "HOME": str(cache)},
        capture_output=True, text=True, timeout=300, umask=0o022, **user,  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return str(done.stdout)


def test_a_second_user_reads_verifies_and_predicts(place: Path) -> None:
    entries = []
    for i in range(3):
        write_h5ad(place / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad"})
    card = str(write_card(place / "mine.yaml", "h5ad", entries))
    write_image(place / "S0.png").chmod(0o644)
    own = place / "first"
    call(["run", "-m", "coordinates", "--no-images", "--dataset", card, "--out", "runs"], place, own)
    call(["fit", "coordinates", "--dataset", card, "--to", "model"], place, own)
    theirs = place / "second"
    theirs.mkdir()
    os.chown(theirs, OTHER, OTHER)
    other = {"user": OTHER, "group": OTHER}
    assert "coordinates" in call(["leaderboard", str(place / "runs")], theirs, theirs / "cache", **other)
    assert "3 cells verified, 0 problems" in call(["verify", str(place / "runs")], theirs, theirs / "cache", **other)
    words = ["predict", "--model", str(place / "model"), "--image", str(place / "S0.png"), "--grid", "40px",
             "--microns-per-pixel", "0.5", "--output", "out.h5ad"]  # fmt: skip
    call(words, theirs, theirs / "cache", **other)
    assert (theirs / "out.h5ad").stat().st_uid == OTHER


def test_what_may_not_be_read_is_one_sentence(place: Path) -> None:
    path = place / "secret.txt"
    path.write_text("mine")
    path.chmod(0o600)
    os.seteuid(OTHER)
    try:
        with pytest.raises(DataError, match="Permission denied"):
            read_text(path, "a text", "ask who owns it")
    finally:
        os.seteuid(0)

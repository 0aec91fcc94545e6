"""What leaves a machine says nothing of it: no token, user, host or path."""

from __future__ import annotations

import getpass
import os
import platform
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from qbench.benchmark.cli.entry import app
from typer.testing import CliRunner

from .support.datasets_sections import counts, grid, write_card, write_h5ad, write_image
from .support.places import ROOT

TOKEN = "5ecre7-t0ken-0f-a-user"
ABSOLUTE = re.compile(r"""(?:^|[\s"'(=:])(/[A-Za-z][\w.-]*/)""", re.MULTILINE)  # the start of a path from the root


def contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file; of an archive those of its members, too."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())


def told(folder: Path, secrets: dict[str, str]) -> list[str]:
    """Which file of a folder holds which secret."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".lock")):
        text = b"\0".join(contents(path))
        found += [f"{path.name}: {kind}" for kind, secret in secrets.items() if secret.encode() in text]
    return found


@pytest.mark.slow
def test_records_models_predictions_and_pages_tell_nothing_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "RAY_AUTH_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
    monkeypatch.setenv("USER", "a-user-of-this-machine")
    monkeypatch.setattr(platform, "node", lambda: "a-host-of-this-network")
    entries = []
    for i in range(3):
        write_h5ad(tmp_path / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        write_image(tmp_path / f"S{i}.png", seed=i)
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png"})
    card = write_card(tmp_path / "mine.yaml", "h5ad", entries)
    out = tmp_path / "out"
    broken = "raise ValueError(__file__)\n"
    (tmp_path / "own.py").write_text(
        "from qbench.methods.controls.mean import Mean\n"
        f"class Broken(Mean):\n    name = 'broken'\n    def fit(self, train, validation, context):\n        {broken}"
    )
    for words in (
        ["run", "-m", "mean,colour,broken", "--plugin", f"{tmp_path}/own.py:Broken", "--dataset", str(card), "--out", f"{out}/runs"],
        ["fit", "colour", "--dataset", str(card), "--to", f"{out}/model"],
        ["predict", "--model", f"{out}/model", "--image", f"{tmp_path}/S0.png", "--grid", "40px", "--microns-per-pixel", "0.5",
         "--output", f"{out}/predicted.h5ad"],
        ["leaderboard", f"{out}/runs", "--format", "html", "--output", f"{out}/page.html"],
        ["leaderboard", f"{out}/runs", "--format", "csv", "--output", f"{out}/table.csv"],
    ):  # fmt: skip
        done = CliRunner().invoke(app, words)
        assert done.exit_code == (words[0] == "run"), f"{done.output}\n{done.exception!r}"
    secrets = {
        "token": TOKEN,
        "user": "a-user-of-this-machine",
        "host": "a-host-of-this-network",
        "path": str(tmp_path),
        "cache": os.environ["QBENCH_CACHE"],
        "home": f"{Path.home()}/",
    }
    assert told(out, secrets) == []
    assert len(list(out.rglob("record.json"))) == 9
    assert told(tmp_path, {"path": str(tmp_path)}) == []
    (out / "runs" / "leak.txt").write_text(f"at {tmp_path}")
    assert told(out, secrets) == ["leak.txt: path"]


def test_the_committed_records_and_board_tell_nothing_of_the_machine() -> None:
    secrets = {"home": "/home/", "root": "/root/", "temporary": "/tmp/", "windows": "C:\\"}
    user = getpass.getuser()
    if len(user) > 4:
        secrets["user"] = f"/{user}/"
    assert told(ROOT / "leaderboard" / "results", secrets) == []
    assert told_in(ROOT / "leaderboard" / "LEADERBOARD.md", secrets) == []
    for path in (*(ROOT / "leaderboard" / "results").rglob("*.jsonl"), ROOT / "leaderboard" / "LEADERBOARD.md"):
        assert ABSOLUTE.findall(path.read_text(encoding="utf-8")) == [], path.name
    assert ABSOLUTE.findall('{"file": "/data/x.h5ad"} at /srv/x') == ["/data/", "/srv/"]


def told_in(path: Path, secrets: dict[str, str]) -> list[str]:
    return [kind for kind, secret in secrets.items() if secret in path.read_text(encoding="utf-8")]

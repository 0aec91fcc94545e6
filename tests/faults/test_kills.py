"""Commands killed at any moment lose nothing: the same command goes on, and its results are those of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pytest
from qbench.datasets.fetched import RECORD

from ..support.datasets_sections import counts, grid, write_card, write_h5ad, write_image
from ..support.disks import small_disk
from ..support.http_server import Server, serving
from .table import Tally

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]  # as many as were asked for

QBENCH = [sys.executable, "-P", "-c", "from qbench.benchmark.cli.start import main; main()"]
PATIENCE = 1800.0  # seconds for a command to end on a machine that may be busy: seconds, where it is not
KILLED_BEFORE_IT_MAY_END = 3  # kills of one command, one after another, each further on


@dataclass(frozen=True)
class Command:
    """A command, run in a folder of its own, and a digest of what it leaves there."""

    name: str
    words: tuple[str, ...]
    digest: Callable[[Path], str]


@pytest.fixture(scope="module", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these tests collect is not the cache that the others share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBENCH_CACHE", str(tmp_path_factory.mktemp("cache-of-kills")))
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from serving()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """Three sections with images, a model of them, predictions made elsewhere, and a card whose files a server has."""
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for i in range(3):
        write_h5ad(folder / f"S{i}.h5ad", counts(seed=i), spatial=grid())
        write_image(folder / f"S{i}.png", seed=i)
        entries.append({"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png"})
    write_card(folder / "mine.yaml", "h5ad", entries)
    (folder / "space.yaml").write_text("{method: coordinates, parameters: {alpha: {choice: [1.0, 100.0]}}}")
    finish(["fit", "coordinates", "--dataset", str(folder / "mine.yaml"), "--to", str(folder / "model")], folder)
    rows = [f"S{i},spot{spot},{gene},{spot % 3}" for i in range(3) for spot in range(12)
            for gene in ("ERBB2", "COL1A1", "CD74", "KRT19", "VWF", "ACTB")]  # fmt: skip
    server.files |= {f"{i}.bin": random.Random(i).randbytes(3 << 20) for i in range(4)}
    files = [{"url": f"{server.url}/{name}", "to": name} for name in sorted(server.files)]
    write_card(folder / "fetched.yaml", "h5ad", entries, sources={"here": {"kind": "files", "files": files}})
    (folder / "elsewhere.csv").write_text("section,spot,gene,prediction\n" + "\n".join(rows) + "\n")
    return folder


def commands(data: Path) -> list[Command]:
    on = ("--dataset", str(data / "mine.yaml"))
    return [
        Command("run", ("run", "-m", "mean,coordinates,colour", *on), _records),
        Command("fit", ("fit", "coordinates", *on, "--to", "model"), _model),
        Command("predict", ("predict", "--model", str(data / "model"), "--image", str(data / "S0.png"), "--grid", "9px",
                            "--microns-per-pixel", "0.5", "--output", "out.h5ad"), _predicted),
        Command("score", ("score", str(data / "elsewhere.csv"), *on), _records),
        Command("data fetch", ("data", "fetch", str(data / "fetched.yaml"), "--to", "there"), _fetched),
        Command("sweep", ("sweep", "coordinates", "--space", str(data / "space.yaml"), "--samples", "2", "--concurrent", "1",
                          *on), _records),
    ]  # fmt: skip


def start(words: tuple[str, ...] | list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*QBENCH, *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(words: tuple[str, ...] | list[str], folder: Path) -> float:
    """Run a command to its end; the seconds that it took."""
    began = time.monotonic()
    with start(words, folder) as process:
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{words}\n{told}"
    return time.monotonic() - began


def test_no_kill_loses_anything(data: Path, tmp_path: Path, kills: int, seed: int, keep: Path) -> None:
    rng, tally = random.Random(seed), Tally(seed, keep)
    known = commands(data)
    chosen = [known[0], known[2]] if kills < 10 else [*known[:5] * 4, known[5]]
    due: dict[str, tuple[str, float]] = {}
    number = turn = 0
    try:
        while number < kills:
            command = chosen[turn % len(chosen)]
            turn += 1
            if command.name not in due:
                whole = tmp_path / f"whole-{command.name}"
                whole.mkdir()
                due[command.name] = (seconds := finish(command.words, whole)) and (command.digest(whole), seconds)
            digest, seconds = due[command.name]
            folder = tmp_path / "killed"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for _ in range(min(KILLED_BEFORE_IT_MAY_END, kills - number)):
                with start(command.words, folder) as process:
                    time.sleep(rng.uniform(0.0, seconds))
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                number += 1
                tally.count(command.name, True, "", number)
            with start(command.words, folder) as process:
                _, told = process.communicate(timeout=PATIENCE)
            found = command.digest(folder) if process.returncode == 0 else f"exit {process.returncode}: {told[-500:]}"
            left = [path.name for path in folder.rglob("*.tmp")]
            tally.count(f"{command.name} again", found == digest and not left, f"{found} {left}", number, folder)
    finally:  # what was tried until somebody lost patience counts, too
        print(f"\n{tally}")
    assert tally.failed == []


def test_four_runs_at_once_beside_the_collection_of_the_cache(data: Path, tmp_path: Path) -> None:
    command, collect = commands(data)[0], ["cache", "gc", "--max-gb", "0"]
    whole = tmp_path / "whole"
    whole.mkdir()
    finish(command.words, whole)
    folders = [tmp_path / f"run-{i}" for i in range(3)]
    for folder in folders:
        folder.mkdir()
    at_once = [start(command.words, folder) for folder in (*folders, folders[0])]
    for _ in range(4):
        finish(collect, tmp_path)
    for process in at_once:
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, told
    assert {command.digest(folder) for folder in folders} == {command.digest(whole)}


@pytest.mark.parametrize("free", [30_000])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_where_there_is_room(
    data: Path, tmp_path: Path, free: int
) -> None:
    command = Command("run", ("run", "-m", "mean", "--no-images", "--dataset", str(data / "mine.yaml")), _records)
    whole = tmp_path / "whole"
    whole.mkdir()
    finish(command.words, whole)
    with small_disk(tmp_path / "disk", 1024) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes((1 << 20) - free))
        with start(command.words, disk) as process:
            _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, told
        assert "disk is full" in told
        assert "Traceback" not in told
        ballast.unlink()
        shutil.copytree(disk, tmp_path / "moved")
    finish(command.words, tmp_path / "moved")
    assert command.digest(tmp_path / "moved") == command.digest(whole)


def _records(folder: Path) -> str:
    records = [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*/*/record.json"))]
    kept = [(r["cell"], r["status"], r["hashes"]["predictions"], r["hashes"]["scores"], r["scores"]) for r in records]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _fetched(folder: Path) -> str:
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "there").glob("*.bin"))}
    return (
        hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]
        if (folder / "there" / RECORD).is_file()
        else "unrecorded"
    )


def _model(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()[:16]


def _predicted(folder: Path) -> str:
    found = anndata.read_h5ad(folder / "out.h5ad")
    return hashlib.sha256(np.asarray(found.X).tobytes() + "".join(found.obs_names).encode()).hexdigest()[:16]

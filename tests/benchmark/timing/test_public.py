"""Timing public code beside ours: shapes go out, a made-up repository is timed at them, its figures come back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from qbench.benchmark.cli import bench as command
from qbench.benchmark.timing import public, time_public, train
from qbench.errors import ConfigurationError
from typer import Typer
from typer.testing import CliRunner

# A repository of somebody's, and what a user writes to have its training step called.
MODEL = """
from torch import nn

class Regressor(nn.Linear):
    pass
"""
ADAPTER = """
import torch
from somebodys_model import Regressor

def build(shapes):
    network = Regressor(shapes["features"], shapes["genes"])
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)

    def step(spots):
        loss = network(torch.randn(spots, shapes["features"])).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shapes, of small epochs."""
    for name, value in {"SIZES": {"fast": (2, 20, 0, 2)}, "FEATURES": 8, "GENES": 6}.items():
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(public, "METHODS", ("stnet",))
    monkeypatch.setattr(public, "RUNS", 1)
    (written,) = public.write_shapes(tmp_path / "asked", methods=("stnet",))
    assert (written.method, written.code) == ("stnet", "https://github.com/bryanhe/ST-Net")
    return tmp_path / "asked"


def run(arguments: list[str]) -> str:
    app = Typer()
    app.callback()(lambda: None)
    command.add(app)
    done = CliRunner().invoke(app, ["bench", *arguments], env={"COLUMNS": "160"})
    if done.exception is not None:
        raise done.exception
    return done.output


def test_public_code_is_timed_at_our_shapes_and_stands_beside_ours(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shapes,) = asked.glob("*.ours.json")
    said = json.loads(shapes.read_text())["shapes"]
    assert (said["steps"], said["features"], said["genes"], said["patch_pixels"]) == ([32, 8], 8, 6, 0)
    with pytest.raises(ConfigurationError, match=r"found none yet; run time_public\.py"):
        public.rows(asked)
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "somebodys_model.py").write_text(MODEL)
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(time_public, "RUNS", 2)
    time_public.main([str(shapes), str(adapter), "--code", str(tmp_path / "clone")])

    stored = json.loads((asked / "stnet-fast-fp32.public.json").read_text())
    assert len(stored["runs"]) == 2
    (row,) = json.loads(run(["train", "--against", str(asked), "--json"]))["rows"]
    assert row["plain"] == pytest.approx(1 / stored["seconds"])
    assert row["ratio"] == pytest.approx(stored["seconds"] / json.loads(shapes.read_text())["seconds"])
    assert row["name"] == "train stnet (fast), one epoch of 40 spots, fp32"
    assert "public" in run(["train", "--against", str(asked)])

    (asked / "stnet-fast-fp32.public.json").write_text(json.dumps({**stored, "shapes": {**said, "genes": 7}}))
    with pytest.raises(ConfigurationError, match="found others; time the public code again"):
        public.rows(asked)


def test_the_steps_of_an_epoch_have_the_threads_and_arithmetic_of_the_shapes() -> None:
    import torch

    class Adapter:
        seen: list[tuple[int, bool, int]] = []  # noqa: RUF012

        @classmethod
        def build(cls, shapes: dict[str, object]):
            return lambda spots: cls.seen.append((spots, torch.is_autocast_enabled("cpu"), torch.get_num_threads()))

    before = torch.get_num_threads()
    shapes = {"threads": 1, "steps": [5, 3], "precision": "bf16", "device": "cpu"}
    assert len(time_public.time_epochs(Adapter, shapes)) == time_public.RUNS
    torch.set_num_threads(before)
    assert Adapter.seen == [(5, True, 1), (3, True, 1)] * (time_public.RUNS + 1)


def test_a_method_that_reads_whole_sections_steps_by_them() -> None:
    class Parameters:
        batch_size = 1

    assert list(public._steps(True, Parameters, 3, 20)) == [20, 20, 20]


def test_only_training_has_public_code() -> None:
    with pytest.raises(ConfigurationError, match="Expected train alone"):
        run(["score", "--against", "public"])


def test_a_folder_without_shapes_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no shapes either; write it anew with 'qbench bench train"):
        run(["train", "--against", str(tmp_path)])

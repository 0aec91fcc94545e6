"""Running a stored cell again: equal on the same machine, and in the arithmetic that its record names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from qbench.benchmark.engine import reproduce as module
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.reporter import Quiet
from qbench.benchmark.engine.reproduce import Reproduction, reproduce
from qbench.benchmark.engine.run import execute
from qbench.benchmark.engine.task import CellTask
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError
from qbench.leaderboard.record import Record
from rich.console import Console

from ...support.tiny_her2st import make

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"), ("A1", "B1"))


@pytest.fixture(scope="module")
def cell(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished cell that tuned a backbone."""
    out = tmp_path_factory.mktemp("runs")
    options = RunSettings(
        methods=("bleep[backbone=test_resnet,batch_size=8]",), dataset="her2st", data_dir=data, profile="paper",
        encoder_weights=("random",), max_epochs=1, out=out, seeds=(3,),
    )  # fmt: skip
    execute(make_plan(options), Quiet(Console(stderr=True)))
    return min(out.glob("*/*/record.json")).parent


def again(folder: Path, data: Path) -> Reproduction:
    return reproduce(folder, data, (), None, (), Quiet(Console(stderr=True)))


def edited(cell: Path, folder: Path, **changes: Any) -> Path:
    record = json.loads((cell / "record.json").read_text())
    for name, value in changes.items():
        record[name] = {**record[name], **value} if isinstance(value, dict) else value
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def test_a_cell_run_again_is_equal_and_an_edited_score_is_not(cell: Path, data: Path, tmp_path: Path) -> None:
    found = again(cell, data)
    assert found.record.seed == 3
    assert (found.equal, found.within, found.largest, found.changed) == (True, True, 0.0, ())
    [(section, figures)] = found.record.scores.items()
    assert figures["mse"] is not None
    other = edited(cell, tmp_path, scores={section: {**figures, "mse": figures["mse"] + 0.5}})
    moved = again(other, data)
    assert (moved.equal, moved.within) == (True, False), "the scores' hash is of what was stored, the figure is not"
    assert moved.largest == pytest.approx(0.5)


def asked_again(
    cell: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **encoder: str
) -> list[CellTask]:
    """The tasks that reproducing a record with an edited encoder asks for; none is run."""
    asked: list[CellTask] = []

    def record_of(task: CellTask, _event: object) -> Record:
        asked.append(task)
        return Record.model_validate_json((cell / "record.json").read_text())

    monkeypatch.setattr(module, "run_apart", record_of)
    again(edited(cell, tmp_path, encoder=encoder), data)
    return asked


@pytest.mark.parametrize("steps", ["eager", "compiled"])
def test_the_training_steps_are_run_as_the_record_says(
    steps: str, cell: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_again(cell, data, tmp_path, monkeypatch, runtime=steps)
    assert [task.steps for task in asked] == [steps]
    assert asked[0].identity["backbone"]["runtime"] == steps


@pytest.mark.parametrize("evaluation", ["eager:bf16", "eager:fp32"])
def test_a_tuned_backbone_predicts_as_the_record_says(
    evaluation: str, cell: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_again(cell, data, tmp_path, monkeypatch, evaluation=evaluation)
    assert asked[0].identity["backbone"].get("evaluation", "eager:fp32") == evaluation


def test_what_cannot_be_run_again_is_one_sentence(cell: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="qbench list runs"):
        again(tmp_path / "nowhere", data)
    with pytest.raises(ConfigurationError, match="found a failed"):
        again(edited(cell, tmp_path, status="failed"), data)
    other = make(tmp_path / "other", ("A1", "C1"))
    with pytest.raises(ConfigurationError, match=r"B1.*--data-dir"):
        again(cell, other)


def test_features_that_need_no_network_are_those_of_the_record(data: Path, tmp_path: Path) -> None:
    options = RunSettings(methods=("ridge",), dataset="her2st", data_dir=data, encoder="rgb", out=tmp_path)
    execute(make_plan(options), Quiet(Console(stderr=True)))
    assert again(min(tmp_path.glob("*/*/record.json")).parent, data).equal

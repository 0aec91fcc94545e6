"""Several encoders in one run: which methods are crossed with them, and that nothing but the list of cells changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.read_settings import read_settings
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError
from typer.testing import CliRunner

from ...support.tiny_her2st import make

METHODS = ("ridge", "untrained", "colour", "mean")
TWO = ("rgb", "efficientnet_lite0")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tiny"))


def options(data: Path, out: Path, **changes: object) -> RunSettings:
    given = {"methods": METHODS, "dataset": "her2st", "data_dir": data, "sections": ("B1", "C1"), "out": out}
    return RunSettings.model_validate({**given, "encoder_weights": ("resnet50=random",), **changes})


def test_cells_of_a_crossed_run_are_those_of_a_run_each(data: Path, tmp_path: Path) -> None:
    together = make_plan(options(data, tmp_path, encoders=("efficientnet_lite0", "resnet50")))
    alone = [make_plan(options(data, tmp_path, encoder=name)) for name in ("efficientnet_lite0", "resnet50")]
    cells = [cell.task.cell for cell in together.cells]
    assert len(cells) == len({*cells}) == 2 * 2 * 2 + 2 * 2  # two methods twice, two once, on two folds
    assert {*cells} == {cell.task.cell for plan in alone for cell in plan.cells}
    titles = {cell.task.title for cell in together.cells}
    assert titles == {
        *(f"{method} · {name}" for method in ("ridge", "untrained") for name in ("efficientnet_lite0", "resnet50")),
        "colour",
        "mean",
    }
    for cell in together.cells:  # what a cell's own process resolves it from
        assert cell.task.settings.encoders == ()
        assert cell.task.encoder in (None, cell.task.settings.encoder)


def test_one_encoder_and_a_list_of_them_are_refused_together(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("methods: ridge\nencoders: [rgb, efficientnet_lite0, rgb]\n")
    assert read_settings({}, file).encoders == TWO
    with pytest.raises(ConfigurationError, match="one of --encoder and --encoders, found both"):
        read_settings({"encoder": "efficientnet_lite0"}, file)
    with pytest.raises(ConfigurationError, match=r"untrained draws random weights .* 'rgb' has no weights"):
        make_plan(options(data, tmp_path, encoders=TWO))


def test_weights_that_nothing_reads_are_named(data: Path, tmp_path: Path) -> None:
    plan = make_plan(options(data, tmp_path, methods=("ridge",), encoders=TWO))
    assert plan.notes[0] == "--encoder-weights names resnet50, which no method of this run reads."


def test_the_dry_run_shows_the_grid(data: Path, tmp_path: Path) -> None:
    asked = ["run", "-m", "ridge,mean", "--encoders", ",".join(TWO), "--dataset", "her2st", "--data-dir", str(data)]
    asked += ["--sections", "B1,C1", "--out", str(tmp_path), "--dry-run"]
    shown = " ".join(_printed(asked).split())
    assert "method ┃ rgb ┃ efficientnet_lite0 ┃ no encoder of these" in shown
    assert "│ ridge │ 2 of 2 │ 2 of 2 │ – │" in shown
    assert "│ mean │ – │ – │ 2 of 2 │" in shown
    cells = json.loads(_printed([*asked, "--json"]))["cells"]
    assert {(cell["method"], cell["encoder"]) for cell in cells} == {
        ("ridge", TWO[0]),
        ("ridge", TWO[1]),
        ("mean", None),
    }


@pytest.mark.slow
def test_a_run_of_two_encoders_one_of_them_a_local_file(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "mine.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    asked = ["run", "-m", "ridge", "--dataset", "her2st", "--data-dir", str(data), "--sections", "B1,C1"]
    asked += ["--encoder-weights", f"test_resnet={weights}", "--out", str(tmp_path / "runs"), "--device", "cpu"]
    rows = json.loads(_printed([*asked, "--encoders", "rgb,test_resnet", "--json"]))["tables"][0]["rows"]
    assert {(row["method"], row["encoder"]) for row in rows} == {("ridge", "rgb"), ("ridge", "test_resnet")}
    assert len({row["pcc_hvg"]["mean"] for row in rows}) == 2
    assert "2 cells, 2 to read, 0 to run" in _printed([*asked, "--encoder", "test_resnet", "--dry-run"])


def _printed(arguments: list[str]) -> str:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.stdout

"""A path that is not there: one sentence that names it and exit code 2, in every command and for every option."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.run import _check_writable
from qbench.errors import ConfigurationError, QbenchError
from typer.testing import CliRunner

COMMANDS = {
    "run --methods mean --dataset absent.yaml": "absent.yaml",
    "run --methods mean --protocol absent.yaml": "absent.yaml",
    "run --config absent.yaml": "absent.yaml",
    "run --methods mean --dataset her2st --data-dir absent": "absent",
    "run --methods mean --plugin absent.py:Mine": "absent.py",
    "run --methods ridge --encoder-weights efficientnet_lite0=absent.pt": "absent.pt",
    "sweep qca --space absent.yaml": "absent.yaml",
    "sweep qca --dataset absent.yaml": "absent.yaml",
    "ablate qca --dataset absent.yaml": "absent.yaml",
    "leaderboard absent": "absent",
    "compare qca ridge --out absent": "absent",
    "figures absent": "absent",
    "verify absent": "absent",
    "reproduce absent": "absent",
    "list runs --out absent": "absent",
    "info absent.yaml": "absent.yaml",
    "protocol export --to splits --dataset absent.yaml": "absent.yaml",
    "data verify absent.yaml": "absent.yaml",
    "data verify her2st --data-dir absent": "absent",
    "data add absent --name mine": "absent",
    "check absent.py:Mine": "absent.py",
    "check mean --plugin absent.py:Mine": "absent.py",
    "score absent.csv": "absent.csv",
    "score absent.parquet": "absent.parquet",
    "score absent.h5ad": "absent.h5ad",
    "fit mean --to model --dataset absent.yaml": "absent.yaml",
    "predict --model absent --image slide.png --grid 200um --output o.h5ad": "absent",
    "convert stnet absent.pt --genes genes.txt --to model": "absent.pt",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_is_not_there_is_named(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(command))
    error = result.exception
    if isinstance(error, QbenchError):
        assert error.exit_code == 2
        message = str(error)
        assert "\n" not in message
        assert message[-1] in ".!?"
    else:  # what the command line's parser says by itself
        assert isinstance(error, SystemExit), repr(error)
        assert error.code == 2
        message = result.output
    assert COMMANDS[command] in message
    assert list(tmp_path.iterdir()) == [], "nothing is written for a command that cannot run"


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_place_for_cells_that_is_no_folder_is_named_before_anything_runs(tmp_path: Path, inside: str) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(ConfigurationError, match=r"can be written at .*; choose another --out"):
        _check_writable(tmp_path / "runs" / inside)
    _check_writable(tmp_path / "others" / "protocol")
    assert (tmp_path / "others" / "protocol").is_dir()

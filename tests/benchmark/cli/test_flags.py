"""A setting is declared once: every command offers what it declares for it, and reads no other one."""

from __future__ import annotations

import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
from qbench.benchmark.cli import flags
from qbench.benchmark.cli.entry import app
from qbench.benchmark.settings import RunSettings, commands, words
from qbench.benchmark.sweep.settings import ReadingsSettings, SweepSettings
from qbench.errors import ConfigurationError
from typer.testing import CliRunner

from ...support.tiny_her2st import make

SETTINGS = [(model, name) for model in (RunSettings, SweepSettings, ReadingsSettings) for name in model.model_fields]
TAKING = ("run", "sweep", "ablate", "score", "protocol export", "fit")
# Settings of a run that a command gives itself, or in its stead takes another one of its own.
WITHOUT = {
    "run": set(),
    "sweep": {"methods", "tasks", "encoders", "workers"},
    "ablate": {"methods", "tasks", "encoders"},
}


def commands_below(group: Any, start: str = "") -> dict[str, Any]:
    """Every command of the application by its words."""
    found: dict[str, Any] = {}
    for name, one in group.commands.items():
        found |= commands_below(one, f"{start}{name} ") if hasattr(one, "commands") else {start + name: one}
    return found


COMMANDS = commands_below(typer.main.get_command(app))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_offers_what_its_settings_have_in_their_words_and_no_other(command: str) -> None:
    told = {
        param.opts[0]: param.help.replace("\\[", "[") for param in COMMANDS[command].params if param.opts[0][:2] == "--"
    }
    for model, name in SETTINGS:
        flag = "--" + name.replace("_", "-")
        if command in commands(model, name):
            assert told[flag] == words(name, model)
        else:  # an option of that name may be another thing, and then says so
            assert told.get(flag) != words(name, model), "an option that docs/settings.md does not know of"
    assert ("--config" in told) == (command in TAKING)


def test_every_setting_is_of_commands_that_there_are() -> None:
    assert {command for model, name in SETTINGS for command in commands(model, name)} <= set(COMMANDS)


@pytest.mark.parametrize("command", WITHOUT)
def test_commands_that_run_cells_take_every_setting_of_a_run(command: str) -> None:
    taken = {name for name in RunSettings.model_fields if command in commands(RunSettings, name)}
    assert set(RunSettings.model_fields) - taken == WITHOUT[command]


@pytest.mark.parametrize(("model", "name"), SETTINGS)
def test_a_setting_says_what_it_takes_and_its_default(model: type, name: str) -> None:
    field = model.model_fields[name]
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is typing.Literal else ()
    assert all(choice in field.description for choice in choices)
    told = not isinstance(field.default, bool) and field.default not in (None, ())
    assert words(name, model).endswith(f"; default {_plain(field.default)}.") == told


def _plain(value: Any) -> str:
    return {(0,): "0", 1.0: "1"}.get(value, str(value))


@pytest.mark.parametrize(
    ("command", "more"),
    [("protocol export", ["--to", "splits"]), ("fit", ["mean", "--to", "model"])],
)
def test_a_command_reads_only_settings_that_it_offers(
    command: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    read: set[str] = set()

    def watched(self: Any, name: str) -> Any:
        if name in RunSettings.model_fields:
            read.add(name)
        return object.__getattribute__(self, name)

    monkeypatch.setattr(RunSettings, "__getattribute__", watched, raising=False)
    result = CliRunner().invoke(app, [*command.split(), *more, "--dataset", "her2st", "--data-dir", str(data)])
    assert result.exit_code == 0, result.output
    offered = {name for name in RunSettings.model_fields if command in commands(RunSettings, name)}
    named = {"methods"} if command == "fit" else set()  # its argument
    assert "dataset" in read
    assert read - offered - named == set()


def test_values_reach_the_command_with_the_file_under_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    made = typer.Typer()

    @made.command("sweep")
    @flags.taking("sweep")
    def sweep(*, method: str, sweep: SweepSettings, settings: RunSettings, quiet: flags.Quiet = False) -> None:
        seen.append((method, sweep, settings, quiet))

    (tmp_path / "run.yaml").write_text("{target: proportion, seeds: [3], max-epochs: 2}")
    config = str(tmp_path / "run.yaml")
    args = ["qca", "--samples", "3", "--gpus-per-trial", "0.5", "--config", config, "--seeds", "1,2"]
    result = CliRunner().invoke(made, [*args, "--no-keep-models", "-q"])
    assert result.exit_code == 0, result.output
    method, search, settings, quiet = seen[0]
    assert (method, quiet) == ("qca", True)
    assert search == SweepSettings(samples=3, gpus_per_trial=0.5)
    assert settings == RunSettings(target="proportion", seeds=(1, 2), max_epochs=2, keep_models=False)
    wrong = CliRunner().invoke(made, ["qca", "--search", "grind"])
    assert isinstance(wrong.exception, ConfigurationError)
    assert str(wrong.exception).startswith("--search: expected random or grid, found")
    assert "'qbench sweep --help'" in str(wrong.exception)


def test_the_command_line_starts_light() -> None:
    code = (
        "import sys, qbench.benchmark.cli.entry; "
        "print(sorted({'torch', 'ray', 'scanpy', 'anndata', 'pandas', 'numpy', 'scipy', 'yaml'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert out.strip() == "[]"

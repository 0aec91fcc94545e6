"""Options: the command line over a file over defaults, and one sentence for what is wrong."""

from pathlib import Path

import pytest
from qbench.benchmark.read_settings import read_settings
from qbench.benchmark.settings import RunSettings
from qbench.errors import ConfigurationError


def test_the_command_line_beats_the_file_which_beats_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("methods: [qca, 'bleep[k=20]']\nseeds: '0,1'\ntarget: proportion\nmax-epochs: 7\n")
    options = read_settings({"target": "counts", "seeds": None, "methods": None}, file)
    assert options.methods == ("qca", "bleep[k=20]")
    assert options.seeds == (0, 1)
    assert (options.target, options.max_epochs, options.dataset) == ("counts", 7, "demo")


def test_commas_inside_brackets_do_not_split() -> None:
    options = read_settings({"methods": ["qca[alpha=0.5,fsq_levels=8-5-5-5],bleep", "ridge"]}, None)
    assert options.methods == ("qca[alpha=0.5,fsq_levels=8-5-5-5]", "bleep", "ridge")


def test_seeds_count_once() -> None:
    assert RunSettings(seeds="2,0,2").seeds == (2, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seeds": ["-1"]}, "--seeds"),
        ({"target": "logs"}, "--target"),
        ({"max_epochs": 0}, "--max-epochs"),
        ({"microns_per_pixel": -1.0}, "--microns-per-pixel"),
    ],
)
def test_a_wrong_value_names_its_flag(given: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_settings(given, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [("methds: qca", "Did you mean .methods"), ("- a", "found list"), ("a: [", "cannot be read")],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_settings({}, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_settings({}, tmp_path / "none.yaml")

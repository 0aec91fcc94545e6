"""YAML that is wrong in any way, and values of the wrong kind in any option or file: one sentence, at once, exit code 2."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from qbench.benchmark.cli.entry import app
from qbench.benchmark.read_settings import read_settings
from qbench.benchmark.settings import RunSettings
from qbench.benchmark.sweep.ablation import Ablation
from qbench.benchmark.sweep.settings import SweepSettings
from qbench.benchmark.sweep.space import Space, read_space
from qbench.datasets.protocol import ProtocolFile, read_protocol
from qbench.datasets.registry import DatasetCard, card
from qbench.errors import ConfigurationError, short, unknown
from qbench.leaderboard.reported import Reported
from qbench.methods.card import MethodCard
from qbench.methods.encoders.card import EncoderCard
from qbench.methods.registry import parse
from qbench.yaml_files import fault, read_yaml
from typer.testing import CliRunner

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
UNREADABLE = {
    "month": (b"methods: 2001-99-99", "month must be in 1..12"),
    "hexadecimal": (b"methods: 0x_", "invalid literal"),
    "float": (b"methods: !!float abc", "could not convert string to float"),
    "timestamp": (b"methods: !!timestamp foo", "AttributeError"),
    "bool": (b"methods: !!bool maybe", "KeyError"),
    "long number": (b"methods: " + b"9" * 5000, "4300 digits"),
    "long hexadecimal": (b"methods: 0x" + b"f" * 5000, "more than 64 bits"),
    "deep": (b"{a: " * 5000, "nested too deep"),
    "bomb": (BOMB.encode(), "more than 1,000,000 values"),
    "itself": (b"methods: &a [*a]", "contains itself"),
    "date": (b"name: 2024-01-31", "2024-01-31' is read as a date; put it in quotes"),
    "key twice": (b"a: 1\nb: 2\na: 3", "the key 'a' is stated again in line 3"),
    "octal": (b"patient: 010", "'010' is read as the number 8; put it in quotes, or write 8"),
    "sexagesimal": (b"patient: 12:30", "'12:30' is read as the number 750"),
    "underscore": (b"patient: 1_000", "'1_000' is read as the number 1000"),
    "decimals": (b"scale: 1_0.5", "'1_0.5' is read as the number 10.5"),
    "object": (b"methods: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    "syntax": (b"a: b\nc: [", "in line 2"),
    "control": (b"a: \x00", "special characters are not allowed"),
    "latin-1": (b"name: p\ntitle: \xe9", "byte 15 is not UTF-8"),
}
READERS = {
    "a dataset's card": lambda path: card(str(path)),
    "a protocol": lambda path: read_protocol(str(path)),
    "YAML options": lambda path: read_settings({}, path),
    "a space": lambda path: read_space(parse("qca"), path),
}


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_yaml_of_plain_values_is_named_at_once(tmp_path: Path, name: str, what: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(UNREADABLE[name][0])
    before = time.monotonic()
    with pytest.raises(ConfigurationError) as caught:
        READERS[what](path)
    assert time.monotonic() - before < 2
    message = str(caught.value)
    assert message.startswith(f"Expected {what} in {path}, but it cannot be read")
    assert UNREADABLE[name][1] in message
    assert len(message) < len(str(path)) + 300
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("what", READERS)
def test_a_missing_file_and_a_folder_are_named(tmp_path: Path, what: str) -> None:
    for path, words in ((tmp_path / "none.yaml", "there is no such file"), (tmp_path / "x.yaml", "Is a directory")):
        if words == "Is a directory":
            path.mkdir()
        with pytest.raises(ConfigurationError, match=f"Expected {what} in .*{path.name}, but .*{words}"):
            READERS[what](path)


def test_aliases_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [1, {b: null}]\nc: *a\nd: [*a, *a]")
    assert read_yaml(path, "values") == {"a": [1, {"b": None}], "c": [1, {"b": None}], "d": [[1, {"b": None}]] * 2}


@pytest.mark.parametrize(
    ("what", "text", "words"),
    [
        ("a dataset's card", "[1]", "but the file: expected keys with values, found [1]. See docs/own-data.md."),
        (
            "a dataset's card",
            "name: m\ntitel: M\nsimulated: false",
            "but the file: There is no key named 'titel'. Did you mean 'title'?",
        ),
        ("a dataset's card", "name: m\nsimulated: false\nreader: h5ad", "but title: expected a value, found none."),
        (
            "a dataset's card",
            "name: m\ntitle: M\nsimulated: perhaps\nreader: h5ad",
            "but simulated: expected true or false, found 'perhaps'.",
        ),
        (
            "a dataset's card",
            "{name: m, title: M, simulated: no, reader: h5ad, sections: [{id: A, file: a, imag: b}]}",
            "but sections.0: There is no key named 'imag'. Did you mean 'image'? Known: ",
        ),
        (
            "a dataset's card",
            "{name: m, title: M, simulated: no, reader: h5ad, sections: [{id: A, file: a, spot_diameter: -1}]}",
            "but sections.0.spot_diameter: expected a number above 0, found -1.",
        ),
        (
            "a dataset's card",
            "{name: m, title: M, simulated: no, reader: h5ad, sources: {a: {kind: archive, archives: []}}}",
            "expected repository, archives, files, found {'archives': [], 'kind': 'archive'}. ",
        ),
        (
            "a dataset's card",
            "{name: m, title: M, simulated: no, reader: h5ad, sources: {a: {kind: archives, archives: [{url: u, plce: {}}]}}}",
            "archives.0: There is no key named 'plce'. Did you mean 'place'? Known: password, place, sha256, url.",
        ),
        (
            "a protocol",
            "{name: p, title: P, held_out: patients, unit: patient}",
            "but held_out: expected patient, section, groups, spots or splits, found 'patients'. "
            "Did you mean 'patient'? See docs/protocols.md.",
        ),
        (
            "a protocol",
            "{name: p, title: P, held_out: groups, unit: patient, folds: [{name: f, tset: [A]}]}",
            "but folds.0: There is no key named 'tset'. Did you mean 'test'? Known: name, test, validation.",
        ),
        (
            "a space",
            "{method: qca, parameters: {alpha: {chioce: [1]}}}",
            "but parameters.alpha: There is no key named 'chioce'. Did you mean 'choice'? Known: choice, integers,",
        ),
        (
            "a space",
            "{method: qca, parameters: {alpha: {uniform: [0, x]}}}",
            "but parameters.alpha.uniform.1: expected a number, found 'x'. See docs/sweeps.md.",
        ),
        (
            "a space",
            "{method: qca, parameters: {alpha: {choice: []}}}",
            "but parameters.alpha: expected at least one value to choose from, found an empty list.",
        ),
        ("YAML options", "tagret: counts", "no option in file.yaml named 'tagret'. Did you mean 'target'?"),
        (
            "YAML options",
            "target: count",
            "target in {path}: expected counts or proportion, found 'count'. Did you mean 'counts'? See 'qbench run --help'.",
        ),
        ("YAML options", "max-epochs: many", "max-epochs in {path}: expected a whole number, found 'many'."),
        ("YAML options", "seeds: [0, -1]", "seeds in {path}: expected seeds from 0 to 4294967295, found -1."),
        ("YAML options", "dataset: [a, [b, [c, [d]]]]", "dataset in {path}: expected text, found ['a', ['b', [...]]]."),
        ("YAML options", "out: 7", "out in {path}: expected a path, found 7."),
        ("YAML options", 'data-dir: "a\\0b"', "data-dir in {path}: expected a path, found 'a\\x00b'."),
        ("YAML options", f"target: {'x' * 100_000}", "target in {path}: expected counts or proportion, found 'xxxx"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_short_sentence(tmp_path: Path, what: str, text: str, words: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        READERS[what](path)
    message = str(caught.value)
    assert words.replace("{path}", str(path)) in message
    assert str(path) in message or "in file.yaml" in message
    assert len(message) < len(str(path)) + 500
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--target", "count"],
            "--target: expected counts or proportion, found 'count'. Did you mean 'counts'? See 'qbench run --help'.",
        ),
        (["--profile", "fats"], "--profile: expected fast or paper, found 'fats'. Did you mean 'fast'?"),
        (["--seeds=-1"], "--seeds: expected seeds from 0 to 4294967295, found -1."),
        (["--seeds", "0,one"], "--seeds: expected a whole number, found 'one'."),
        (["--select", "psc"], "--select: expected mse or pcc, found 'psc'. Did you mean 'pcc'?"),
        (["--device", "cdua"], "--device: expected auto, cpu or cuda, found 'cdua'. Did you mean 'cuda'?"),
        (["--precision", "pf32"], "--precision: expected auto, fp32 or bf16, found 'pf32'. Did you mean 'fp32'?"),
        (["--max-epochs", "0"], "--max-epochs: expected a number of at least 1, found 0."),
        (["--workers", "0"], "--workers: expected a number of at least 1, found 0."),
        (["--microns-per-pixel", "-0.5"], "--microns-per-pixel: expected a number of at least 0.05, found -0.5."),
        (["--methods", "qca[alignment=assymetric]"], "found 'assymetric'. Did you mean 'asymmetric'?"),
        (["--methods", "qca[" + "x" * 10_000], "close the bracket"),
        (["--dataset", "d" * 10_000], "There is no dataset named 'ddd"),
        (["--protocol", "patiant"], "Did you mean 'patient'?"),
        (["--encoder-weights", "weights.pt"], "Expected --encoder-weights NAME=FILE, or random, found 'weights.pt'."),
    ],
)
def test_a_wrong_option_is_one_short_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["run", "--methods", "mean", "--dry-run", *arguments])
    assert isinstance(result.exception, ConfigurationError), result.output
    assert result.exception.exit_code == 2
    assert words in str(result.exception)
    assert len(str(result.exception)) < 700


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--search", "gird"],
            "--search: expected random or grid, found 'gird'. Did you mean 'grid'? See 'qbench sweep --help'.",
        ),
        (
            ["--gpus-per-trial", "atuo"],
            "--gpus-per-trial: expected auto or a number, found 'atuo'. Did you mean 'auto'?",
        ),
        (["--samples", "0"], "--samples: expected a number of at least 1, found 0."),
    ],
)
def test_a_wrong_option_of_a_sweep_is_one_short_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["sweep", "qca", *arguments])
    assert isinstance(result.exception, ConfigurationError), result.output
    assert words in str(result.exception)


@pytest.mark.parametrize(
    "model", [RunSettings, SweepSettings, DatasetCard, ProtocolFile, Space, Ablation, Reported, MethodCard, EncoderCard]
)
@pytest.mark.parametrize("value", ["?", -1, 0.5, None, [], ["?"], {}, {"?": 1}, [[{}]], True, "x" * 10_000])
def test_no_text_of_pydantic_reaches_a_user(model: type[BaseModel], value: object) -> None:
    for name in [*model.model_fields, "unheard-of"]:
        try:
            model.model_validate({name: value})
        except ValidationError as error:
            words = fault(error, model)[1]
        except ConfigurationError as error:  # of a name that may not be one
            words = str(error)
        else:
            continue
        assert not any(
            raw in words for raw in ("Input should", "Field required", "Extra inputs", "Value error", "valid ")
        )
        assert "found" in words or "There is no " in words
        assert len(words) < 600


def test_values_are_shown_short() -> None:
    assert short("a") == "'a'"
    assert len(short("x" * 10**6)) < 100
    assert len(short(list(range(10**6)))) < 100
    assert "\x1b" not in short("\x1b[31m")
    assert len(str(unknown("dataset", "x" * 10**6, ["demo"]))) < 200


def test_what_a_merge_brings_may_be_stated_again(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: &a {x: 1, y: -2}\nb: {<<: *a, x: +3}\n")
    assert read_yaml(path, "a file") == {"a": {"x": 1, "y": -2}, "b": {"x": 3, "y": -2}}

"""Method names, settings and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qbench.errors import ConfigurationError, DataError, MethodError
from qbench.methods import registry
from qbench.methods.card import PROFILES, parameter_table
from qbench.methods.controls.ridge import Ridge
from qbench.methods.method import Method


def test_every_name_has_a_class_of_that_name_and_a_card():
    for name in registry.names():
        cls = registry.method_class(name)
        assert issubclass(cls, Method)
        assert cls.name == name
        card = registry.card(name)
        assert card.summary
        for profile in PROFILES:
            spec = registry.spec(name, profile=profile)
            assert (spec.label, spec.settings, spec.profile, spec.origin) == (name, {}, profile, "qbench")
            values = card.profiles[profile]
            assert set(values) == set(cls.Parameters.model_fields), "a profile states every value"
            assert set(card.sources.get(profile, {})) == set(values), "each value names its source"


def test_settings_override_the_profile_and_make_the_label():
    spec = registry.parse("ridge[ alpha = 100 ]")
    assert spec.parameters.alpha == 100.0
    assert spec.settings == {"alpha": 100.0}
    assert spec.label == "ridge[alpha=100]"
    assert spec.cls is Ridge
    assert registry.parse("ridge[alpha=auto]").label == "ridge"


def test_lists_split_outside_brackets_and_drop_repeats():
    found = registry.parse_list(["mean,ridge[alpha=3],knn[k=7]", "mean"])
    assert [spec.label for spec in found] == ["mean", "ridge[alpha=3]", "knn[k=7]"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rigde", ["no method named 'rigde'", "Did you mean 'ridge'"]),
        ("ridge[alhpa=1]", ["no parameter of ridge named 'alhpa'", "Did you mean 'alpha'"]),
        ("ridge[alpha=-1]", ["ridge", "alpha", "at least 0", "'-1'"]),
        ("knn[k=two]", ["knn", "k", "whole number at least 1", "'two'"]),
        ("knn[k]", ["parameter=value"]),
        ("knn[k=1,k=2]", ["twice"]),
        ("knn[k=1", ["close the bracket"]),
    ],
)
def test_a_wrong_request_gets_one_sentence(text: str, words: list[str]):
    with pytest.raises(ConfigurationError) as caught:
        registry.parse(text)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_profile():
    with pytest.raises(ConfigurationError, match="Did you mean 'paper'"):
        registry.spec("ridge", profile="papr")


def test_a_registered_method_is_found_and_a_taken_name_refused():
    registry.register("mine", "qbench.methods.controls.mean:Mean", "my-package")
    assert "mine" in registry.names()
    spec = registry.parse("mine")
    assert spec.origin == "my-package"
    assert registry.card("mine").summary.startswith("Predicts each gene's mean")
    with pytest.raises(ConfigurationError, match="taken by"):
        registry.register("ridge", "other.module:Thing", "my-package")
    registry.register("lost", "no_such_module_here:Thing", "my-package")
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        registry.parse("lost")
    registry.register("wrong", "pathlib:Path", "my-package")
    with pytest.raises(ConfigurationError, match="not a subclass"):
        registry.parse("wrong")


def test_parameter_table_names_ranges():
    table = {row.name: row for row in parameter_table(registry.method_class("knn").Parameters)}
    assert table["k"].values == "a whole number at least 1 or 'auto'"
    assert table["k"].default == "auto"


def test_parsing_imports_no_torch():
    code = (
        "import sys; from qbench.methods import registry\n"
        "[registry.spec(n) for n in registry.names()]\n"
        "print([m for m in ('torch', 'timm', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_saved_method_with_other_parameters_is_one_sentence(tmp_path: Path) -> None:
    header = {"name": "knn", "version": registry.method_class("knn").version, "parameters": {"kk": 3}, "genes": ["A"]}
    (tmp_path / "method.json").write_text(json.dumps(header))
    with pytest.raises(
        MethodError,
        match=r"knn in .*method.json, but the file: There is no key named 'kk'. Did you mean 'k'",
    ):
        registry.load_method(tmp_path)
    with pytest.raises(DataError, match=r"Expected a saved method in .*absent"):
        registry.load_method(tmp_path / "absent")

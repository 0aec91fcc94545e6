"""What is missing is skipped at home, and fails in CI."""

import importlib.util
from importlib.metadata import requires

import pytest

from .support.needs import need, need_openvino


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [(None, "Skipped"), ("", "Skipped"), ("false", "Skipped"), ("true", "Failed"), ("1", "Failed")],
)
def test_what_is_missing_is_skipped_here_and_fails_in_ci(monkeypatch, ci, outcome):
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(BaseException, match="no chromium") as caught:
        need(None, "no chromium")
    assert type(caught.value).__name__ == outcome
    need("/usr/bin/chromium", "no chromium")


def test_a_missing_openvino_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseException, match="openvino is not installed") as caught:
        need_openvino()
    assert type(caught.value).__name__ == "Failed"


def test_the_extra_that_ci_installs_brings_openvino():
    found = [text for text in requires("qbench-spatial") or [] if text.startswith("openvino")]
    assert any("extra == 'test'" in text.replace('"', "'") for text in found)

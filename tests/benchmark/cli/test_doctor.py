"""What doctor says of the hub's token: whether it is there and accepted, and never the token itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from qbench.benchmark.cli.doctor import Finding, _token

from ...support.fake_hub import Hub, hub


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for state in hub():
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", state.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield state


def _said(token: str | None, monkeypatch: pytest.MonkeyPatch) -> Finding:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    found = _token()
    assert "hf_" not in repr(found)
    return found


def test_none(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _said(None, monkeypatch)
    assert (found.status, found.found[:5]) == ("PASS", "none;")
    assert server.asked == []


def test_accepted(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _said("hf_member", monkeypatch)
    assert (found.status, found.found) == ("PASS", f"present, accepted by {server.url}")


def test_not_accepted(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _said("hf_expired", monkeypatch)
    assert (found.status, found.found) == ("WARN", f"present, but {server.url} does not accept it")
    assert "hf auth login" in found.fix


def test_no_network(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    found = _said("hf_member", monkeypatch)
    assert found.status == "PASS"
    assert found.found.startswith("present, not tried: http://127.0.0.1:9 cannot be reached (")

"""What the command line is given, where it stands, and what it prints to, whatever their encoding."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest
from qbench.benchmark.cli import entry
from qbench.errors import ConfigurationError


@pytest.fixture
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.mark.usefixtures("no_signals")
@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"\\xb7 \\u2500"), ("latin-1", b"\xb7 \\u2500")])
def test_an_output_of_another_encoding_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: bytes
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["qbench"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(entry, "app", lambda: print("\u00b7 \u2500", flush=True))
    entry.main()
    assert raw.getvalue().strip() == shown


@pytest.mark.usefixtures("no_signals")
def test_bytes_that_are_no_text_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["qbench", "leaderboard", os.fsdecode(b"runs\xff")])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Expected arguments and paths in utf-8, found 'runs\\udcff'" in line


def test_a_folder_that_was_removed_is_no_place_to_run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getcwd", lambda: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(ConfigurationError, match="was removed; change to another"):
        entry._check_place()

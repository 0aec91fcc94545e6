"""What a trial left is believed only as it was written; the rest is run again."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from qbench.benchmark.sweep.state import Times, read_times, write_times
from qbench.benchmark.sweep.trial_files import (
    HISTORY,
    RESULT,
    TrialResult,
    append_history,
    read_history,
    read_result,
    write_history,
    write_result,
)

ENDED = TrialResult(fold="A", number=3, settings={"alpha": 0.5}, status="finished", validation_mse=0.25, epochs=2)
EPOCHS = [{"epoch": 1.0, "validation_mse": 0.5}, {"epoch": 2.0, "validation_mse": 0.25}]


@pytest.mark.parametrize("damage", ["cut", "empty", "byte", "digit", "key", "list"])
def test_a_damaged_result_is_removed_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    write_result(tmp_path, ENDED)
    assert read_result(tmp_path) == ENDED
    path = tmp_path / RESULT
    content = path.read_bytes()
    changed = {
        "cut": content[:40],
        "empty": b"",
        "byte": content + b"\xe9",
        "digit": content.replace(b"0.25", b"0.24"),
        "key": content.replace(b'"sha256"', b'"sha257"'),
        "list": b"[]",
    }
    path.write_bytes(changed[damage])
    with caplog.at_level(logging.WARNING, "qbench"):
        assert read_result(tmp_path) is None
    assert "Expected the result of a trial in" in caplog.text
    assert "the trial is run again" in caplog.text
    assert not path.exists()


def test_a_result_of_an_older_qbench_is_read(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text(ENDED.model_dump_json())
    assert read_result(tmp_path) == ENDED


def test_a_history_ends_before_the_first_damaged_line(tmp_path: Path) -> None:
    write_history(tmp_path, EPOCHS[:1])
    append_history(tmp_path, EPOCHS[1])
    assert read_history(tmp_path) == EPOCHS
    path = tmp_path / HISTORY
    content = path.read_bytes()
    for changed in (
        content.replace(b"0.25", b"0.24"),
        content[:-30],
        content[: content.index(b"\n") + 1] + b"\xff\xfe\n",
        content[: content.index(b"\n") + 1] + b"[" * 100_000,
    ):
        path.write_bytes(changed)
        assert read_history(tmp_path) == EPOCHS[:1]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in EPOCHS))  # of an older qbench
    assert read_history(tmp_path) == EPOCHS


def test_times_that_cannot_be_read_are_counted_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_times(tmp_path, Times(ray=2.0))
    assert read_times(tmp_path).ray == 2.0
    for text in ("", "[]", '{"ray": "x"}', '{"rey": 1}'):
        (tmp_path / "times.json").write_text(text)
        assert read_times(tmp_path) == Times()
    assert caplog.text.count("they are counted anew") == 4

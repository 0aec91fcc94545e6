"""The committed leaderboard is what its committed records give, to the letter."""

from pathlib import Path

import pytest
from qbench.leaderboard.record import find_records
from qbench.leaderboard.render import render
from qbench.leaderboard.summarise import summarise

BOARD = Path(__file__).resolve().parent.parent / "leaderboard"


@pytest.mark.skipif(not (BOARD / "records").is_dir(), reason="no records are committed in leaderboard/records")
def test_the_committed_leaderboard_is_fresh():
    tables = summarise([record for _, record in find_records(BOARD / "records")])
    assert (BOARD / "LEADERBOARD.md").read_text(encoding="utf-8") == render(tables, "md"), (
        "make it again: qbench leaderboard leaderboard/records --format md --output leaderboard/LEADERBOARD.md"
    )

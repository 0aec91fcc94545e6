"""Numbers in a table of predictions are what they look like."""

from __future__ import annotations

from pathlib import Path

import pytest
from qbench.benchmark.external.table import read_predictions
from qbench.errors import DataError

HEAD = "section,spot,gene,prediction\n"


@pytest.mark.parametrize("cell", ["1_0", "0x1", "x"])
def test_a_number_that_only_a_program_would_read_is_refused(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "made.csv"
    path.write_text(f"{HEAD}S1,s0,A,{cell}\n")
    with pytest.raises(DataError, match="Expected numbers in column 'prediction'"):
        read_predictions(path)


def test_plain_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    path.write_text(f"{HEAD}S1,s0,A,1\nS1,s0,B,2.5\nS1,s1,A,1e-1\nS1,s1,B,-0\n")
    assert read_predictions(path)["S1"].values.tolist() == [[1, 2.5], [0.1, 0]]

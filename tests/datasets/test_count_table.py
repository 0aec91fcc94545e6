from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qbench.datasets import count_table
from qbench.datasets.count_table import read_count_table
from qbench.errors import DataError

GOOD = "\tERBB2\tGNAS\tHLA-A\n10x13\t0\t12\t3\n11x9\t1\t0\t0\n"


def write(folder: Path, text: str | bytes, name: str = "A1.tsv") -> Path:
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["A1.tsv", "A1.tsv.gz"])
@pytest.mark.parametrize(
    "text", [GOOD, GOOD.rstrip("\n"), GOOD + "\n", GOOD.replace("\n", "\r\n"), "spot" + GOOD, "\ufeff" + GOOD]
)
def test_a_table(tmp_path: Path, text: str, name: str) -> None:
    table = read_count_table(write(tmp_path, text, name))
    assert table.spots == ("10x13", "11x9")
    assert table.genes == ("ERBB2", "GNAS", "HLA-A")
    assert table.counts.toarray().tolist() == [[0, 12, 3], [1, 0, 0]]
    assert table.counts.dtype == np.int32
    assert table.counts.indices.dtype == np.int32
    assert table.counts.nnz == 3
    assert table.counts.has_sorted_indices


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 9).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 999_999_999) | st.just(0), min_size=width, max_size=width), min_size=1, max_size=12
        )
    ),
    block=st.integers(1, 200),
)
def test_any_table_in_any_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[list[int]], block: int
) -> None:
    monkeypatch.setattr(count_table, "_BLOCK", block)
    lines = ["\t".join(["", *(f"g{j}" for j in range(len(rows[0])))])]
    lines += ["\t".join([f"{i}x1", *map(str, row)]) for i, row in enumerate(rows)]
    table = read_count_table(write(tmp_path, "\n".join(lines)))
    assert table.counts.toarray().tolist() == rows
    assert table.spots == tuple(f"{i}x1" for i in range(len(rows)))


@pytest.mark.parametrize("cell", ["x", "-1", "2.5", "1e3", "", " 1", "NA", "1_0", "٣", "1234567890", "+1"])
@pytest.mark.parametrize("block", [8, 1 << 22])
def test_a_cell_that_is_no_count_names_file_row_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, block: int
) -> None:
    monkeypatch.setattr(count_table, "_BLOCK", block)
    path = write(tmp_path, GOOD.replace("11x9\t1\t0\t0", f"11x9\t1\t{cell}\t0"))
    with pytest.raises(DataError) as error:
        read_count_table(path)
    assert str(error.value).startswith(
        f"{path}, row 2 ('11x9'), column 'GNAS': expected a whole, non-negative count, found '{cell}'"
    )


@pytest.mark.parametrize(
    ("row", "found"), [("11x9\t1\t0", 2), ("11x9\t1\t0\t0\t4", 4), ("11x9", 0), ("", 0), ("11x9 1 0 0", 0)]
)
def test_a_row_of_another_length(tmp_path: Path, row: str, found: int) -> None:
    path = write(tmp_path, GOOD.replace("11x9\t1\t0\t0", row) + "12x1\t0\t0\t0\n")
    with pytest.raises(DataError, match=rf"row 2 .*: expected 3 counts, found {found};"):
        read_count_table(path)


def test_lengths_that_only_add_up_in_all(tmp_path: Path) -> None:
    path = write(tmp_path, "\ta\tb\nx\t1\ny\t1\t2\t3\n")
    with pytest.raises(DataError, match=r"row 1 .*: expected 2 counts, found 1;"):
        read_count_table(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (GOOD + "10x13\t0\t0\t0\n", "each spot must appear once, but '10x13' appears"),
        (GOOD.replace("HLA-A", "ERBB2"), "each gene must appear once, but 'ERBB2' appears"),
    ],
)
def test_duplicates(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_count_table(write(tmp_path, text))


def test_damaged_files(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD.encode() * 50)
    cases = {
        "cut.tsv.gz": whole[: len(whole) // 2],
        "plain.tsv.gz": GOOD.encode(),
        "packed.tsv": whole,
        "empty.tsv": b"",
        "header.tsv": b"\tERBB2",
        "bare.tsv": b"\tERBB2\n",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            read_count_table(tmp_path / name)
    with pytest.raises(DataError, match=r"none\.tsv"):
        read_count_table(tmp_path / "none.tsv")

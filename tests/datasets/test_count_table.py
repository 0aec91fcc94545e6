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


@pytest.mark.parametrize(
    "cell", ["x", "-1", "2.5", "1e-3", "1.5e0", "2,0", "", " 1", "NA", "1_0", "٣", "1234567890", "+1"]
)
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


@pytest.mark.parametrize(
    ("cell", "value"), [("12.0", 12), ("12.", 12), ("1e+05", 100_000), ("1.2e3", 1200), ("0.0", 0)]
)
def test_whole_numbers_written_as_decimals(tmp_path: Path, cell: str, value: int) -> None:
    table = read_count_table(write(tmp_path, GOOD.replace("\t12\t", f"\t{cell}\t").replace("11x9", "11.0")))
    assert table.counts.toarray().tolist() == [[0, value, 3], [1, 0, 0]]
    assert table.spots == ("10x13", "11.0")  # names stay as they are


@pytest.mark.parametrize("quote", ["", '"'])
def test_the_header_that_r_writes_has_no_cell_above_the_names(tmp_path: Path, quote: str) -> None:
    head = "\t".join(f"{quote}{gene}{quote}" for gene in ("ERBB2", "GNAS", "HLA-A"))
    table = read_count_table(write(tmp_path, f"{head}\n{quote}10x13{quote}\t0\t12\t3\n11x9\t1\t0\t0\n"))
    assert (table.genes, table.spots) == (("ERBB2", "GNAS", "HLA-A"), ("10x13", "11x9"))
    assert table.counts.toarray().tolist() == [[0, 12, 3], [1, 0, 0]]


@pytest.mark.parametrize(
    ("other", "found", "name"),
    [(";", '";"', "A1.csv"), ("\t", "tabs", "A1.csv"), (" ", "blanks", "A1.tsv"), (",", '","', "A1.tsv")],
)
def test_another_separator_is_named(tmp_path: Path, other: str, found: str, name: str) -> None:
    path = write(tmp_path, GOOD.replace("\t", other), name)
    with pytest.raises(DataError, match=f"found them separated by {found};"):
        read_count_table(path, b"," if name.endswith("csv") else b"\t")


def test_decimal_commas_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found '12,0'; write decimals with a point"):
        read_count_table(write(tmp_path, GOOD.replace("12", "12,0")))

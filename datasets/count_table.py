"""Read a table of counts (spots x genes, tab-separated, gzipped or not) strictly and straight into CSR.

Nearly all cells of such a table are a single "0", so the bytes are classified with numpy, block by block, and only the
others are turned into numbers: several times faster than a general CSV reader, with bounded memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ..errors import DataError, reading
from ..files import regular_bytes, unpacked_bytes

_BLOCK = 1 << 22
_DIGITS = 9  # 999,999,999 fits int32
_ZERO, _TAB, _NEWLINE = 48, 9, 10
_SEPARATORS = {b"\t": "tabs", b",": '","', b";": '";"', b" ": "blanks"}
# What stands above the names of the spots: a header that begins so has all its cells.
_CORNERS = {
    "",
    "spot",
    "spots",
    "barcode",
    "barcodes",
    "cell",
    "cells",
    "id",
    "index",
    "name",
    "gene",
    "genes",
    "unnamed: 0",
}
_COMMA = re.compile(r"\d+,\d+")
_DECIMAL = re.compile(rb"(?<=\t)\d{1,9}(?:\.\d*|(?=[eE]))(?:[eE]\+?\d{1,2})?(?=[\t\n])")  # 2.0, 2., 1e+05


@dataclass(frozen=True)
class CountTable:
    """Names of rows and columns and the counts, CSR int32, canonical."""

    spots: tuple[str, ...]
    genes: tuple[str, ...]
    counts: sparse.csr_matrix


def read_count_table(path: Path, separator: bytes = b"\t") -> CountTable:
    """Read a table whose header holds the genes.

    The header's first cell, above the spot names, may be empty or, as R writes it, missing. Whole numbers may be written
    as 2.0 or 1e+05. Quotes around a cell are dropped; none may hold the separator.

    Raises:
        DataError: a damaged file, rows of different length, a cell that is not a whole non-negative number, a spot or
            gene that appears twice; names the file, and the row and column where there is one.
    """
    with reading("a table of counts", path, "fetch the file again"):
        data = unpacked_bytes(path) if path.suffix == ".gz" else regular_bytes(path)
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    head = data[: max(data.find(b"\n"), 0)]
    if head:
        check_separator(head, separator, path)
    if separator != b"\t" or b'"' in head:
        data = data.replace(b'"', b"").replace(separator, b"\t")
    head, newline, _ = data.partition(b"\n")
    if not newline or not head:
        raise DataError(
            f"Expected a header of genes and rows of spots in {path}, found {len(data)} bytes; fetch the file again."
        )
    cells = _text(head, path).split("\t")
    data = data.rstrip(b"\n") + b"\n"
    start = len(head) + 1
    short = cells[0].strip().casefold() not in _CORNERS and data.count(b"\t", start, data.find(b"\n", start)) == len(
        cells
    )
    genes = tuple(cells if short else cells[1:])
    spots: list[str] = []
    parts = []
    for block in _blocks(data, start):
        names, part = _read_block(block, path, genes, len(spots))
        spots += names
        parts.append(part)
    for what, names in (("spot", spots), ("gene", list(genes))):
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise DataError(
                f"{path}: each {what} must appear once, but {', '.join(map(repr, twice[:5]))} "
                f"appear{'s' if len(twice) == 1 else ''} more than once; remove or merge the duplicates."
            )
    if not parts:
        raise DataError(f"Expected rows of spots below the header of {path}, found none; fetch the file again.")
    return CountTable(tuple(spots), genes, sparse.vstack(parts, format="csr", dtype=np.int32))


def check_separator(head: bytes, separator: bytes, path: Path) -> None:
    """Hold the first line of a table against the separator that its file's ending promises.

    Raises:
        DataError: another one parts its cells; names both.
    """
    if separator in head:
        return
    for other, name in _SEPARATORS.items():
        if other in head.strip():
            raise DataError(
                f"Expected cells separated by {_SEPARATORS[separator]} in {path}, found them separated by {name}; "
                "write it anew: .csv with commas, .tsv with tabs, decimals with a point (in R write.csv, not write.csv2)."
            )


def _blocks(data: bytes, start: int) -> Iterator[bytes]:
    """Whole lines of about `_BLOCK` bytes at a time."""
    while start < len(data):
        end = data.find(b"\n", min(start + _BLOCK, len(data) - 1)) + 1
        yield data[start:end]
        start = end


def _read_block(block: bytes, path: Path, genes: tuple[str, ...], before: int) -> tuple[list[str], sparse.csr_matrix]:
    parsed = _parse(block, len(genes), path)
    if parsed is None:
        plain = block.replace(b".0\t", b"\t").replace(b".0\n", b"\n")  # nearly all cells of such a table, at once
        parsed = _parse(_DECIMAL.sub(_whole, plain), len(genes), path)
        if parsed is None:
            raise _fault(block, path, genes, before)
        names = [_text(line.partition(b"\t")[0], path) for line in block.split(b"\n")[:-1]]
        return names, parsed[1]
    return parsed


def _whole(cell: re.Match[bytes]) -> bytes:
    """A whole number without its point and exponent; another as it stands."""
    value = Decimal(cell[0].decode())
    return b"%d" % int(value) if value == value.to_integral_value() else cell[0]


def _parse(block: bytes, width: int, path: Path) -> tuple[list[str], sparse.csr_matrix] | None:
    """Names and counts of whole lines, or None if they are not all names and digits, of one length."""
    values: NDArray[np.uint8] = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero((values == _TAB) | (values == _NEWLINE)).astype(np.int32)
    rows = int((values == _NEWLINE).sum())
    if len(ends) != rows * (width + 1) or not (values[ends[width :: width + 1]] == _NEWLINE).all():
        return None
    starts = np.concatenate([np.zeros(1, np.int32), ends[:-1] + 1]).reshape(rows, width + 1)
    stops = ends.reshape(rows, width + 1)
    names = [_text(block[a:b], path) for a, b in zip(starts[:, 0], stops[:, 0], strict=True)]
    starts, stops = starts[:, 1:], stops[:, 1:]
    row, column = np.nonzero((stops - starts != 1) | (values[starts] != _ZERO))
    at, length = starts[row, column], (stops - starts)[row, column]
    if len(length) and not 1 <= length.min() <= length.max() <= _DIGITS:
        return None
    counts = np.zeros(len(at), np.int32)
    for k in range(int(length.max(initial=0))):
        inside = np.flatnonzero(length > k)
        digit = values[at[inside] + k] - np.uint8(_ZERO)  # wraps round below "0", so one comparison tells digits
        if (digit > 9).any():
            return None
        counts[inside] = counts[inside] * 10 + digit
    start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    part = sparse.csr_matrix((counts, column.astype(np.int32), start.astype(np.int32)), shape=(rows, width))
    part.eliminate_zeros()
    return names, part


def _fault(block: bytes, path: Path, genes: tuple[str, ...], before: int) -> DataError:
    """Find the first fault of a block that did not parse, cell by cell."""
    for number, line in enumerate(block.split(b"\n")[:-1], start=before + 1):
        name, *cells = _text(line, path).split("\t")
        if len(cells) != len(genes):
            return DataError(
                f"{path}, row {number} ('{name[:40]}'): expected {len(genes)} counts, found {len(cells)}; "
                "the table is damaged or not tab-separated, fetch it again."
            )
        for gene, text in zip(genes, cells, strict=True):
            cell = _DECIMAL.sub(_whole, f"\t{text}\n".encode()).decode()[1:-1]
            if not (cell.isascii() and cell.isdigit() and len(cell) <= _DIGITS):
                return DataError(
                    f"{path}, row {number} ('{name[:40]}'), column '{gene}': expected a whole, non-negative count, "
                    f"found '{text[:40]}'; "
                    + ("write decimals with a point." if _COMMA.fullmatch(text) else "give the table of raw counts.")
                )
    raise AssertionError(f"{path}: no fault found in a block that did not parse")


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected text in {path}, but {error.reason}; is it a table, or gzipped without ending in .gz?"
        ) from error

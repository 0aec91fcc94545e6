"""The one way to read text, JSON and rows of CSV: regular files, gzipped or not, every failure one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from .errors import reading
from .files import unpacked_bytes


def read_text(path: Path, what: str, remedy: str) -> str:
    """The text of a file, UTF-8 with or without its mark, line ends as they are.

    Args:
        path: of the file.
        what: the file is to be, as words of a sentence.
        remedy: what to do where it is not, its last words.

    Raises:
        DataError: it cannot be read, is no text, or unpacks beyond reason.
    """
    with reading(what, path, remedy):
        return unpacked_bytes(path).decode("utf-8-sig")


def read_json(path: Path, what: str, remedy: str) -> Any:
    """The value in a JSON file; errors as in `read_text`, or no JSON."""
    with reading(what, path, remedy):
        return json.loads(read_text(path, what, remedy))


def read_rows(path: Path, what: str, remedy: str, separator: str = ",") -> list[list[str]]:
    """The rows of a CSV, each a list of its cells; errors as in `read_text`, or no CSV."""
    with reading(what, path, remedy):
        return list(
            csv.reader(io.StringIO(read_text(path, what, remedy), newline=""), delimiter=separator, strict=False)
        )

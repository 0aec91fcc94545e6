"""Text, JSON and rows are read from regular files, gzipped or not, or refused in one sentence."""

import gzip
import os
from pathlib import Path

import pytest
from qbench.errors import DataError
from qbench.text_files import read_json, read_rows, read_text

WORDS = ("a list", "write it anew")


def test_text_json_and_rows_gzipped_or_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf[1]\r\n")
    assert read_text(path, *WORDS) == "[1]\r\n"
    assert read_json(path, *WORDS) == [1]
    path.write_bytes(gzip.compress(b'a,"b\nc"\r\n\r\n1,2'))
    assert read_rows(path, *WORDS) == [["a", "b\nc"], [], ["1", "2"]]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff[1]", "can't decode byte 0xff"),
        (b"[1", "Expecting"),
        (b"[" * 100_000, "recursion"),
        (b"1" * 5000, "integer string conversion"),
        (gzip.compress(b"[1]")[:-9], "ended before the end-of-stream"),
        (gzip.compress(b" " * (1 << 25), 9), "unpack to more than 16,777,216"),
    ],
    ids=["bytes", "cut", "deep", "long", "cut gzip", "bomb"],
)
def test_what_is_no_json_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(
        DataError, match=r"Expected a list in .*a\.json, but it cannot be read: .*; write it anew\."
    ) as error:
        read_json(tmp_path / "a.json", *WORDS)
    assert told in str(error.value)
    assert len(str(error.value)) < 700


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    for read in (read_text, read_json, read_rows):
        with pytest.raises(DataError, match="not a regular file"):
            read(tmp_path / "a", *WORDS)

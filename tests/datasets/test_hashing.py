from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import pytest
from qbench.datasets.hashing import canonical_hash, file_sha256, remembered_sha256
from qbench.errors import DataError

HELLO = hashlib.sha256(b"hello").hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    os.utime(path, (1e9, 1e9))
    return path


def test_canonical_hash_is_of_sorted_compact_json() -> None:
    assert canonical_hash({"b": [1, 2.5], "a": None}) == hashlib.sha256(b'{"a":null,"b":[1,2.5]}').hexdigest()
    assert canonical_hash({"a": 1, "b": 2}) == canonical_hash({"b": 2, "a": 1})
    assert canonical_hash([1, 2]) != canonical_hash([2, 1])
    with pytest.raises(ValueError, match="Out of range"):
        canonical_hash(float("nan"))


def test_a_file_is_read_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    assert file_sha256(file, cache) == HELLO

    def never(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(hashlib, "file_digest", never)
    assert file_sha256(file, cache) == HELLO
    monkeypatch.chdir(tmp_path)
    assert file_sha256(Path("file"), cache) == HELLO


def _longer(path: Path) -> None:
    path.write_bytes(b"hello!")
    os.utime(path, (1e9, 1e9))


def _later(path: Path) -> None:
    path.write_bytes(b"HELLO")
    os.utime(path, (1e9 + 1, 1e9 + 1))


def _replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"HELLO")
    os.utime(other, (1e9, 1e9))
    other.replace(path)


@pytest.mark.parametrize("change", [_longer, _later, _replaced])
def test_a_changed_file_is_read_again(file: Path, tmp_path: Path, change) -> None:
    file_sha256(file, tmp_path)
    change(file)
    assert file_sha256(file, tmp_path) == hashlib.sha256(file.read_bytes()).hexdigest() != HELLO


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    assert file_sha256(path, tmp_path) == HELLO
    assert not (tmp_path / ".hashes").exists()


@pytest.mark.parametrize("memory", ["", "{", "[]", '{"sha256": 3}', '{"sha256": "wrong"}'])
def test_an_unusable_memory_is_not_believed(file: Path, tmp_path: Path, memory: str) -> None:
    file_sha256(file, tmp_path)
    (kept,) = (tmp_path / ".hashes").iterdir()
    kept.write_text(memory)
    assert file_sha256(file, tmp_path) == HELLO


def test_a_cache_that_cannot_be_written_costs_only_time(file: Path, tmp_path: Path) -> None:
    assert file_sha256(file, file) == HELLO  # a file stands where the cache's folder should be


def _hash(paths: list[Path], cache: Path) -> None:
    for path in paths:
        assert file_sha256(path, cache) == hashlib.sha256(path.name.encode()).hexdigest()


def test_concurrent_writers(tmp_path: Path) -> None:
    paths = [tmp_path / f"file{i}" for i in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
        os.utime(path, (1e9, 1e9))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_hash, args=(paths, tmp_path / "cache")) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert len(list((tmp_path / "cache" / ".hashes").iterdir())) == 40


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tsv, but No such file"):
        file_sha256(tmp_path / "none.tsv", tmp_path)


def test_files_below_a_folder_are_read_once_in_all(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    with remembered_sha256(tmp_path, cache) as sha256:
        assert sha256(file) == HELLO

    def never(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(hashlib, "file_digest", never)
    monkeypatch.chdir(tmp_path)
    with remembered_sha256(Path(), cache) as sha256:
        assert sha256(Path("file")) == HELLO


def test_a_memory_keeps_what_is_not_asked_for_and_drops_what_is_gone(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"hello")
    os.utime(other, (1e9, 1e9))
    for names in (["file"], [], ["other"]):
        with remembered_sha256(tmp_path, tmp_path) as sha256:
            assert [sha256(tmp_path / name) for name in names] == [HELLO] * len(names)
    [memory] = (tmp_path / ".hashes").iterdir()
    assert set(json.loads(memory.read_text())["files"]) == {"file", "other"}
    file.unlink()
    _later(other)
    with remembered_sha256(tmp_path, tmp_path) as sha256:
        sha256(other)
    assert set(json.loads(memory.read_text())["files"]) == {"other"}


@pytest.mark.parametrize("change", [_longer, _later, _replaced])
def test_a_changed_file_below_a_folder_is_read_again(file: Path, tmp_path: Path, change) -> None:
    for _ in range(2):
        with remembered_sha256(tmp_path, tmp_path) as sha256:
            assert sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()
        change(file)


def test_a_file_below_a_folder_that_was_written_just_now_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    with remembered_sha256(tmp_path, tmp_path) as sha256:
        assert sha256(tmp_path / "file") == HELLO
    assert not (tmp_path / ".hashes").exists()


@pytest.mark.parametrize("edit", [(HELLO, "0" * 64), ("[5", "[NaN"), ("{", "[")])
def test_an_edited_memory_of_a_folder_is_not_believed(file: Path, tmp_path: Path, edit: tuple[str, str]) -> None:
    with remembered_sha256(tmp_path, tmp_path) as sha256:
        sha256(file)
    [memory] = (tmp_path / ".hashes").iterdir()
    memory.write_text(memory.read_text().replace(*edit))
    with remembered_sha256(tmp_path, tmp_path) as sha256:
        assert sha256(file) == HELLO

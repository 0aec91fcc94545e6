"""What is written appears whole or not at all, with the permissions that the umask gives."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from qbench.files import remove_folder, remove_leftovers, write_bytes, write_text, written, written_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def half(path: Path) -> None:
    path.write_text("new")
    raise ValueError("half way")


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "é\r\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "é\r\n".encode()
    write_bytes(tmp_path / "new" / "a.txt", b"\0")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\0"
    assert names(tmp_path / "new") == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(ValueError, match="half"), written(tmp_path / "a") as temporary:
        half(temporary)
    assert (names(tmp_path), (tmp_path / "a").read_text()) == (["a"], "old")


def test_a_failure_leaves_the_old_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    with written_folder(tmp_path / "cell") as temporary:
        (temporary / "old").touch()
        assert names(tmp_path) == [temporary.name]
    with pytest.raises(ValueError, match="half"), written_folder(tmp_path / "cell") as temporary:
        half(temporary / "new")
    assert (names(tmp_path), names(tmp_path / "cell")) == (["cell"], ["old"])


def test_a_folder_replaces_the_one_before_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with written_folder(tmp_path / "cell") as temporary:
            (temporary / name).touch()
    assert (names(tmp_path), names(tmp_path / "cell")) == (["cell"], ["new"])
    remove_folder(tmp_path / "cell")
    remove_folder(tmp_path / "cell")
    assert names(tmp_path) == []


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with written_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "folder")]
    assert modes == [0o640, 0o750]


@pytest.mark.parametrize("what", ["written", "written_folder"])
def test_a_kill_leaves_one_hidden_leftover_that_is_removed_when_its_writer_is_gone(tmp_path: Path, what: str) -> None:
    code = (
        "import sys; from pathlib import Path; from qbench import files\n"
        f"with files.{what}(Path(sys.argv[1])) as temporary:\n"
        "    temporary.is_dir() or temporary.touch()\n"
        "    print('half', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        [left] = names(tmp_path)
        remove_leftovers(tmp_path)  # its writer lives
        assert names(tmp_path) == [left]
        assert process.poll() is None
        process.kill()
    assert left.startswith(".x.")
    assert left.endswith(".tmp")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", ["written", "written_folder"])
def test_a_later_write_removes_what_killed_ones_of_its_name_left(tmp_path: Path, what: str) -> None:
    code = (
        "import os, sys; from pathlib import Path; from qbench import files\n"
        f"with files.{what}(Path(sys.argv[1])) as temporary:\n"
        "    temporary.is_dir() or temporary.touch()\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    for name in ("x", "x", "x.y"):
        subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path / name)], check=False)
    assert len(names(tmp_path)) == 2  # the second took that of the first away
    write_text(tmp_path / "x", "")
    assert [name.startswith(".x.y.") for name in names(tmp_path)] == [True, False]


def test_what_a_process_of_another_machine_left_stays_for_a_day(tmp_path: Path) -> None:
    left = tmp_path / ".x.99999999-0000abcdef01.tmp"
    left.touch()
    write_text(tmp_path / "x", "")
    assert left.exists()
    os.utime(left, (0, 0))
    write_text(tmp_path / "x", "")
    assert names(tmp_path) == ["x"]


def test_files_that_a_library_writes_for_its_owner_alone_get_the_umasks_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with written_folder(tmp_path / "folder") as temporary:
            (temporary / "inner").mkdir()
            (temporary / "inner" / "weights").touch(mode=0o600)
            (temporary / "program").touch(mode=0o700)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "folder" / name).stat().st_mode) for name in ("inner/weights", "program")]
    assert modes == [0o644, 0o744]

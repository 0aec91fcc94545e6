"""HDF5 is looked through before it is read: what crashes, hangs or swells is one sentence."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from qbench.errors import DataError
from qbench.hdf5_files import open_hdf5


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught, open_hdf5(path, "AnnData", "give it again"):
        pass
    assert str(path) in str(caught.value)
    return str(caught.value)


def write_matrix(path: Path, indptr: list[int], shape: tuple[int, int] = (3, 5)) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["shape"] = shape
        group["data"], group["indices"], group["indptr"] = np.ones(4), np.arange(4), np.array(indptr)
    return path


def test_a_sound_file_is_opened(tmp_path):
    with open_hdf5(write_matrix(tmp_path / "a.h5", [0, 1, 2, 4]), "AnnData", "") as file:
        assert file["X/data"].shape == (4,)


@pytest.mark.parametrize(
    ("indptr", "words"),
    [
        ([0, 1, 1_000_000, 4], "run backwards"),
        ([0, 1, 2, 1_000_000], "of another number"),
        ([-3, 1, 2, 4], "of another number"),
        ([0, 4], "states the shape"),
    ],
)
def test_row_pointers_that_leave_the_values_are_refused(tmp_path, indptr, words):
    assert words in refused(write_matrix(tmp_path / "a.h5", indptr))


def test_values_that_the_bytes_cannot_hold_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("X", (1 << 20, 1 << 20), "f8", chunks=(64, 64))
    assert "more than" in refused(tmp_path / "a.h5")


def test_links_to_other_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"] = h5py.ExternalLink("/dev/zero", "/")
    assert "leads to another file" in refused(tmp_path / "a.h5")


def test_circles_end(tmp_path):
    """A heap of texts whose first object states no length is read for ever by the library."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["name"] = "text of some length"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 24 : heap + 32] = bytes(8)  # the length of the first object
    content[heap + 16 : heap + 18] = b"\x07\x00"
    path.write_bytes(content)
    assert "cannot be read" in refused(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    assert "not a regular file" in refused(tmp_path / "a.h5")


def test_any_flipped_byte_ends_in_a_sentence_or_a_file(tmp_path):
    content = write_matrix(tmp_path / "a.h5", [0, 1, 2, 4]).read_bytes()
    draw, said = np.random.default_rng(5), []
    for trial in range(40):
        damaged = bytearray(content)
        for at in draw.integers(len(content), size=3):
            damaged[at] = draw.integers(256)
        path = tmp_path / f"{trial}.h5"
        path.write_bytes(damaged)
        try:
            with open_hdf5(path, "AnnData", "give it again") as file:
                file["X/data"][:]
        except DataError as error:
            said.append(str(error))
    assert said
    assert all(".h5, but it cannot be read" in sentence for sentence in said)

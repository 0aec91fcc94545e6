"""Files of a cell: what is damaged is one sentence with its name."""

import zipfile

import numpy as np
import pytest
from qbench.array_files import read_arrays
from qbench.errors import DataError
from qbench.leaderboard.stored import read_diagnostics, read_predictions, read_scores


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(64), b"PK\x03\x04" + bytes(200), b"\x93NUMPY" + bytes(90)])
def test_what_is_none_of_our_files_is_named(tmp_path, content):
    for name, read in (
        ("scores.parquet", read_scores),
        ("diagnostics.npz", read_diagnostics),
        ("predictions.h5ad", read_predictions),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}, but it cannot be read: .*; run the cell again"):
            read(tmp_path)


def test_an_archive_that_swells_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.npy", b"")
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02") + 24  # the unpacked size that the directory states
    path.write_bytes(content[:at] + (1 << 30).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(DataError, match="state 1,073,741,824"):
        read_arrays(path, "arrays", "make it again")


def test_cut_arrays_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(1000))
    assert read_arrays(path, "arrays", "make it again")["a"].sum() == 499500
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cannot be read"):
        read_arrays(path, "arrays", "make it again")

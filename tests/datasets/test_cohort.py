"""The joint target of a cohort's sections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qbench.datasets.cohort import joined


@pytest.fixture(params=["memory", "file"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> np.ndarray:
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    if request.param == "memory":
        return values.copy()
    np.save(tmp_path / "values.npy", values)
    return np.load(tmp_path / "values.npy", mmap_mode="c")


def test_parts_of_one_array_in_order_are_joined_without_a_copy(whole: np.ndarray) -> None:
    assert np.shares_memory(joined([whole[:7], whole[7:12], whole[12:]]), whole)
    assert np.shares_memory(joined([whole[:]]), whole)


@pytest.mark.parametrize("cuts", [[(7, 20), (0, 7)], [(0, 7), (12, 20)], [(0, 10), (0, 10)], [(3, 9)]], ids=str)
def test_others_are_copied_in_the_order_given(whole: np.ndarray, cuts: list[tuple[int, int]]) -> None:
    parts = [whole[a:b] for a, b in cuts]
    found = joined(parts)
    assert not np.shares_memory(found, whole)
    np.testing.assert_array_equal(found, np.concatenate(parts))


def test_every_other_row_is_copied(whole: np.ndarray) -> None:
    np.testing.assert_array_equal(joined([whole[::2], whole[1::2]]), np.concatenate([whole[::2], whole[1::2]]))

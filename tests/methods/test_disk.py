"""The cells of a spot's patch that its disk covers, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.errors import MethodError
from qbench.methods.disk import disk_cells, middle_cells


def test_a_disks_cells():
    index, weight = disk_cells(4, 0.5, whole=True, method="istar")
    assert index.tolist() == [5, 6, 9, 10]
    np.testing.assert_allclose(weight, 0.25)
    index, _ = disk_cells(14, 100 / 112, whole=True, method="istar")
    away = np.hypot(*(np.stack(np.divmod(np.arange(196), 14)) - 6.5)) * 8  # microns from the middle
    assert index.tolist() == np.flatnonzero(away <= 50).tolist()
    index, weight = disk_cells(2, 1.0, whole=False, method="istar")
    np.testing.assert_allclose(weight, 0.25)
    index, weight = disk_cells(3, 0.65, whole=False, method="istar")
    area = np.pi * 0.325**2
    np.testing.assert_allclose(weight[index == 4], (1 / 9) / area, rtol=0.01)
    assert len(index) == 9
    assert weight.sum() == pytest.approx(1)
    with pytest.raises(MethodError, match=r"istar: expected a disk .* found disk=0\.1 of a patch of 4 x 4 cells"):
        disk_cells(4, 0.1, whole=True, method="istar")


def test_the_cells_in_the_middle():
    assert middle_cells(3).tolist() == [4]
    assert middle_cells(4).tolist() == [5, 6, 9, 10]
    assert middle_cells(14).tolist() == [90, 91, 104, 105]

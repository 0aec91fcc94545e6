"""Targets and rounding, with figures worked out by hand."""

import numpy as np
import pytest
from qbench.datasets.section import Section
from qbench.datasets.target import clamp, integer_counts, round_in_count_space, target_values
from qbench.errors import MethodError
from scipy import sparse


@pytest.fixture
def section():
    counts = sparse.csr_matrix(np.array([[3, 0, 7], [0, 0, 0]], dtype=np.int32))
    return Section("A1", "A", counts, ("X", "Y", "Z"), ("1x1", "1x2"), np.array([[1.0, 1], [1, 2]]))


def test_counts_are_log1p_and_a_missing_gene_reads_zero(section):
    values = target_values(section, ("Z", "MISSING", "X"), "counts")
    assert values.dtype == np.float32
    assert values == pytest.approx(np.log1p([[7, 0, 3], [0, 0, 0]]))


def test_proportion_divides_by_all_genes_and_spares_the_empty_spot(section):
    values = target_values(section, ("X",), "proportion")
    assert values.ravel() == pytest.approx([np.log1p(1e4 * 3 / 10), 0.0])


def test_rounding_happens_in_count_space():
    x = np.log1p(np.array([0.0, 0.49, 0.5, 0.51, 1.5, 2.5, 100.4]))
    assert np.expm1(round_in_count_space(x)) == pytest.approx([0, 0, 0, 1, 2, 2, 100])


def test_integer_export_clips_and_counts():
    values, clipped = integer_counts(np.array([[0.0, np.log1p(5.2), 800.0]]))
    assert values.dtype == np.int64
    assert values.tolist() == [[0, 5, 2**31]]
    assert clipped == 1
    assert np.isfinite(round_in_count_space(np.array([800.0]))).all()


def test_negative_is_clamped_and_not_finite_is_refused():
    assert clamp(np.array([-1.0, 2.0]), "m").tolist() == [0.0, 2.0]
    with pytest.raises(MethodError, match="1 that are not"):
        clamp(np.array([np.nan, 1.0]), "m on A1")


def test_proportion_is_what_scanpy_makes_of_the_same_counts(section):
    import scanpy

    data = section.to_anndata()
    data.X = data.X.astype(np.float64)
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    assert target_values(section, section.genes, "proportion") == pytest.approx(data.X.toarray(), abs=1e-5)

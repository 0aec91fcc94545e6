"""What may be a section, and what may be counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qbench.datasets.card_parts import SectionEntry
from qbench.datasets.readers.genes import add_up_duplicates, to_symbols
from qbench.datasets.section import Section, whole_counts
from qbench.errors import DataError
from scipy import sparse

from ..support.datasets_sections import GENES, counts, grid

MOST = np.iinfo(np.int32).max


def section() -> Section:
    values = whole_counts(counts(), "Section S1")
    return Section("S1", "P1", values, GENES, tuple(f"s{i}" for i in range(12)), grid(), grid())


@pytest.mark.parametrize("shape", [(12,), (12, 1), (12, 3)])
def test_coordinates_have_two_columns(shape: tuple[int, ...]) -> None:
    for place in ("array_xy", "pixel_xy"):
        with pytest.raises(DataError, match=f"expected x and y as {place[:5]} coordinates, found an array of shape"):
            replace(section(), **{place: np.ones(shape)})


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spot_has_a_diameter(width: float) -> None:
    with pytest.raises(DataError, match="diameter above 0 pixels"):
        replace(section(), spot_diameter=width)


def test_a_label_with_a_line_end_is_refused() -> None:
    with pytest.raises(DataError, match="a label of section S1 without control characters"):
        replace(section(), labels=("a\nb",) * 12)


@pytest.mark.parametrize("dtype", ["f2", ">f8", ">i4"])
def test_counts_of_any_width_and_byte_order_are_read(dtype: str) -> None:
    assert (whole_counts(counts().astype(dtype), "here").toarray() == counts()).all()


def test_a_sum_of_counts_never_leaves_int32() -> None:
    twice = sparse.csr_matrix((np.array([MOST, 1], np.int64), np.array([0, 0]), np.array([0, 2])), shape=(1, 1))
    with pytest.raises(DataError, match=f"found {MOST + 1}"):
        whole_counts(twice, "here")
    with pytest.raises(DataError, match=f"found {2 * MOST}"):
        add_up_duplicates(sparse.csr_matrix(np.array([[MOST, MOST]], np.int32)), ("A", "A"))


def test_a_missing_symbol_names_no_gene() -> None:
    ids = tuple(f"ENSG0000000000{i}" for i in range(5))
    symbols, _ = to_symbols(ids, {"symbol": ["A", "<NA>", "B", "null", "C"]}, None, "here")
    assert symbols == ("A", ids[1], "B", ids[3], "C")


@pytest.mark.parametrize("name", ["bin", "microns_per_pixel", "spot_diameter", "pixel_scale"])
@pytest.mark.parametrize("value", [float("inf"), True])
def test_an_option_of_a_card_is_a_number(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"finite number|expected a number"):
        SectionEntry.model_validate({"id": "S1", "file": "S1.csv", name: value})


def test_a_patient_that_yaml_took_for_a_number_with_a_point_is_refused() -> None:
    with pytest.raises(ValueError, match="patient"):
        SectionEntry.model_validate({"id": "S1", "file": "S1.csv", "patient": 1.1})
    nobody = SectionEntry.model_validate({"id": "S1", "file": "S1.csv", "patient": float("nan")})
    assert nobody.patient is None

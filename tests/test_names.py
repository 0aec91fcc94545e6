"""What may be a name, who is nobody, and how labels become parts of paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from qbench.errors import ConfigurationError
from qbench.names import (
    PART_BYTES,
    check_labels,
    check_name,
    from_spreadsheet_cell,
    name_of_part,
    path_part,
    patient_name,
    shown,
    spreadsheet_cell,
)

# What a path may not hold on one system or another, and what a test by chance would seldom draw.
HARD = st.text(st.sampled_from("./\\ %~:*?[]<>|\"'-_aA1é日\u0301\x1b\n\u202e\ud800"), max_size=60)


@pytest.mark.parametrize("name", ["A1", "Ärztin 7", "患者 1", "हिन्दी", "a.b_c-d", ".hidden", "x" * 100])
def test_letters_of_any_script_may_be_a_name(name: str) -> None:
    assert check_name("a section", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "  ", ".", "..", "a/b", "../a", "a\\b", "x" * 101, "a\x1b[2J", "a\nb", "a\tb", "=cmd|x!A1", "a\u202eb", "a*", "a[1]",
     "a:b", "a\u00a0b", "\x00"],
)  # fmt: skip
def test_what_may_be_no_name_is_named_in_a_sentence_without_control_characters(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Expected the name of a section to be of letters") as caught:
        check_name("a section", name)
    assert str(caught.value).isprintable()
    assert shown(name, keep="") in str(caught.value)


def test_labels_may_be_anything_that_can_be_seen() -> None:
    check_labels("a gene", ["KRT6A/B/C", "HLA-A*02:01", "../x", "=1+1", ""])
    with pytest.raises(ConfigurationError, match=r"name of a gene without control characters, found 'A\\x1b\[31m'"):
        check_labels("a gene", ["B", "A\x1b[31m"])


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, "", "   ", "\t\n", "nan", "NaN", "NA", "na", "N/A", "n/a",
     "None", "NONE", "null", "Null", " NA ", "<NA>", "unnamed"],
)  # fmt: skip
def test_nobody(value: object) -> None:
    assert patient_name(value) is None


@pytest.mark.parametrize(
    ("value", "name"),
    [("P1", "P1"), ("  P1\n", "P1"), ("2023/P1", "2023/P1"), (7, "7"), (7.0, "7"), ("Nadia", "Nadia"), ("Patient 1", "Patient 1"),
     ("e\u0301", "é"), ("nan1", "nan1")],
)  # fmt: skip
def test_patients(value: object, name: str) -> None:
    assert patient_name(value) == name


def test_a_patient_with_control_characters_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"name of a patient without control characters, found 'P1\\x1b\[2J'"):
        patient_name("P1\x1b[2J")


@given(st.one_of(HARD, st.text(max_size=150)))
@example(".")
@example("..")
@example("")
@example("/" * 100)
def test_a_part_of_a_path_is_one_part_and_gives_the_name_back(name: str) -> None:
    part = path_part(name)
    assert 0 < len(part.encode()) <= PART_BYTES
    assert part[0] != "."
    assert part[-1] not in ". "
    assert not set(part) & set("/\\*?[]<>|:\"'\x00\n\x1b")
    try:
        assert name_of_part(part) == name
    except ValueError:
        assert "%~" in part  # cut: a hash stands for what is missing


@given(HARD, HARD)
def test_two_names_are_two_parts(a: str, b: str) -> None:
    assert (path_part(a) == path_part(b)) == (a == b)


def test_plain_names_stay_as_they_are_and_long_ones_differ() -> None:
    assert [path_part(n) for n in ("P1", "2023/P1", "../P1", "患者 1")] == ["P1", "2023%2FP1", "%2E.%2FP1", "患者 1"]
    assert path_part("x" * 100) == "x" * 100
    assert path_part("x" * 150) != path_part("x" * 151)
    with pytest.raises(ValueError, match="was cut"):
        name_of_part(path_part("x" * 150))


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=cmd|x!A1", "'=cmd|x!A1"), ("+1", "'+1"), ("-x", "'-x"), ("@a", "'@a"), ("P-1", "P-1"), ("'=a", "''=a"), ("'a", "'a"), ("", "")],
)  # fmt: skip
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert spreadsheet_cell(text) == cell
    assert from_spreadsheet_cell(cell) == text


@given(st.text(st.sampled_from("'=+-@a"), max_size=6))
def test_cells_give_the_text_back(text: str) -> None:
    cell = spreadsheet_cell(text)
    assert not cell.startswith(("=", "+", "-", "@"))
    assert from_spreadsheet_cell(cell) == text


def test_messages_show_what_a_terminal_would_act_on() -> None:
    assert shown("mi\x1b]0;PWNED\x07\n日 é\u00a0\u202e") == "mi\\x1b]0;PWNED\\x07\n日 é\\xa0\\u202e"

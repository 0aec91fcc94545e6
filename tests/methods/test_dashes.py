"""`8-5-5-5` is read and shown in one way."""

import pytest
from pydantic import TypeAdapter
from qbench.methods.dashes import dashed, undashed
from qbench.methods.qca.parameters import Levels


@pytest.mark.parametrize("text", ["8-5-5-5", "[8, 5, 5, 5]", "8,5,5,5", "[8-5-5-5]"])
def test_what_is_written_is_read(text: str) -> None:
    assert TypeAdapter(Levels).validate_python(text) == (8, 5, 5, 5)


def test_what_is_shown_is_read_again() -> None:
    assert dashed([8, 5, 5, 5]) == dashed((8, 5, 5, 5)) == "8-5-5-5"
    assert undashed(dashed([8, 5])) == ["8", "5"]
    assert [dashed(value) for value in (0.5, True, "a-b", None)] == [0.5, True, "a-b", None]
    assert undashed([8, 5]) == [8, 5]

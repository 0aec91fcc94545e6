"""docs/settings.md is what the settings say today, as `qbench.benchmark.cli.settings_page.settings_markdown` writes it."""

from typing import Literal

import pytest
from pydantic import BaseModel, Field
from qbench.benchmark.cli.settings_page import settings_markdown, values

from ..support.places import ROOT


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_markdown()


class Planted(BaseModel):
    few: int | None = Field(None, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1)
    some: tuple[int, ...] = ()
    either: Literal["auto"] | float = "auto"
    switch: bool = False


@pytest.mark.parametrize(
    ("name", "due"),
    [
        ("few", "a whole number from 1 to 9"),
        ("share", "a number above 0 below 1"),
        ("some", "a list"),
        ("either", "`auto` or a number"),
        ("switch", "yes or no"),
    ],
)
def test_the_values_of_a_setting_in_words(name: str, due: str) -> None:
    field = Planted.model_fields[name]
    assert values(field.annotation, field.metadata) == due

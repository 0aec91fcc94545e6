"""docs/encoders.md is what the cards say today, as `qbench.benchmark.cli.encoders_page.encoders_markdown` writes it."""

from qbench.benchmark.cli.encoders_page import encoders_markdown
from qbench.methods.encoders.registry import ENCODERS

from ..support.places import ROOT


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8") == encoders_markdown()


def test_every_card_has_its_row_under_what_it_needs() -> None:
    page = encoders_markdown()
    gated = page.partition("## Pathology, needs a token")[2].partition("\n## ")[0]
    assert "| [`uni2-h`](https://huggingface.co/MahmoodLab/UNI2-h) |" in gated
    assert "`phikon`" not in gated
    assert all(page.count(f"`{name}`") >= 1 for name in ENCODERS.shipped)

"""docs/methods is what the cards say today; `qbench info NAME --markdown > docs/methods/NAME.md` brings it up to date.

Below the heading MEASURED a page may go on with what was measured, which no card knows: keep that part.
"""

import pytest
from qbench.benchmark.cli.info import method_markdown
from qbench.methods import registry

from ..support.places import ROOT

DOCS = ROOT / "docs" / "methods"
MEASURED = "\n## What it reaches here\n"


@pytest.mark.parametrize("name", [name for name in registry.names() if registry.origin(name) == "qbench"])
def test_a_page_is_up_to_date(name: str) -> None:
    of_the_card, _, _ = (DOCS / f"{name}.md").read_text(encoding="utf-8").partition(MEASURED)
    assert of_the_card == method_markdown(name)


def test_there_is_no_page_of_a_method_that_is_gone() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} <= set(registry.names())

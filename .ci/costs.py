"""Write the seconds and memory of each method's committed cells into docs/performance.md, between its two marks."""

from pathlib import Path
from statistics import median

from qbench.files import write_text
from qbench.leaderboard.committed import read_committed
from qbench.leaderboard.record import Record

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- costs: python .ci/costs.py -->\n", "<!-- /costs -->\n"
HEAD = """\
| | demo: least fit, s | median | prediction | peak MB | HER2ST: least fit, s | median | prediction | peak MB |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def table(records: list[Record]) -> str:
    """Markdown, a row a method with its own settings; of the protocols with images, counts."""
    read = [r for r in records if r.protocol.images and r.protocol.target == "counts" and "[" not in r.method.label]
    labels = sorted({r.method.label for r in read})
    sides = [[r for r in read if r.protocol.dataset == name] for name in ("demo", "her2st")]
    return HEAD + "".join(
        f"| `{label}` | {' | '.join(_side([r for r in side if r.method.label == label]) for side in sides)} |\n"
        for label in labels
    )


def _side(cells: list[Record]) -> str:
    if not cells:
        return " | ".join(["–"] * 4)
    fits = [r.fit_seconds for r in cells]
    predictions, peaks = median(r.predict_seconds for r in cells), max(r.peak_memory_mb for r in cells)
    return f"{min(fits):.1f} | {median(fits):.1f} | {predictions:.1f} | {peaks:.0f}"


def page(text: str, records: list[Record]) -> str:
    """The page with the table of these records."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(records)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8"), read_committed(ROOT / "leaderboard" / "results")))

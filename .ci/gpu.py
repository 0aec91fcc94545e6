"""What a GPU makes of the networks, as a Markdown table for docs/performance.md; about five minutes on one card.

Usage: python .ci/gpu.py [--device cpu] [--compiled]   on a CPU the sizes are too small to say anything; `--compiled` adds minutes
"""

import argparse
import time
from datetime import UTC, datetime

import torch
from qbench.benchmark.timing.device import rows

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
parser.add_argument("--compiled", action="store_true")
given = parser.parse_args()


def figure(value: float | None) -> str:
    """A cell of the table."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


card = torch.cuda.get_device_name() if given.device == "cuda" else "a CPU"
print(f"{card}, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}\n")
print("| what | ours | plain | ratio | unit | of the limit |\n|---|---:|---:|---:|---|---:|")
start = time.monotonic()
for row in rows(given.device, given.compiled):
    share = "" if row.limit_share is None else f"{100 * row.limit_share:.0f} %"
    cells = (row.name, figure(row.ours), figure(row.plain), figure(row.ratio), row.unit, share)
    print(f"| {' | '.join(cells)} |", flush=True)
print(f"\n{time.monotonic() - start:.0f} s")

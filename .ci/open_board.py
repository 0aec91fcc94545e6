"""Hold every bundle below results/ against itself and write results/BOARD.md; `--check` writes nothing."""

import sys
from pathlib import Path

from qbench.benchmark.external.open_board import bundles, open_board
from qbench.errors import QbenchError
from qbench.files import write_text

results = Path(__file__).resolve().parent.parent / "results"
found = bundles(results)
try:
    text = open_board(results) if found else "# The open board\n\nNobody has sent a bundle yet.\n"
except QbenchError as error:
    sys.exit(str(error))
if "--check" not in sys.argv:
    write_text(results / "BOARD.md", text)
elif (results / "BOARD.md").read_text(encoding="utf-8") != text:
    sys.exit("results/BOARD.md is not the board of the bundles beside it; write it with: python .ci/open_board.py")
print(f"{len(found)} bundles hold")

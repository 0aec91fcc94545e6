"""Store a runs folder as the committed board: records with their digests, and the tables that they give."""

import sys
from pathlib import Path

from qbench.files import write_text
from qbench.leaderboard.committed import commit, read_committed
from qbench.leaderboard.render import render
from qbench.leaderboard.summarise import summarise

board = Path(__file__).resolve().parent.parent / "leaderboard"
count = commit(Path(sys.argv[1]), board / "results")
tables = summarise(read_committed(board / "results"))
write_text(board / "LEADERBOARD.md", render(tables, "md"))
print(f"{count} records and {len(tables)} tables stored in {board}")

"""The README's pictures, of the demo: python -P docs/figures/pictures.py [RUNS]; what RUNS lacks is run, in minutes."""

import sys
from pathlib import Path

import matplotlib
import qbench

HERE = Path(__file__).parent


def main() -> None:
    """Draw the board and two genes on a section's tissue."""
    matplotlib.use("agg")
    methods = "qca,stnet,histogene,bleep,ridge,knn,colour,mean"
    results = qbench.run(methods, out=sys.argv[1] if len(sys.argv) > 1 else "runs", quiet=False)
    board = qbench.plot.board(results)
    board.set_title("Simulated data, four held-out patients", fontsize=9)
    board.figure.savefig(HERE / "board.png", dpi=110)
    tissue = qbench.plot.tissue(results, "B1", ["ERBB2", "COL1A1"], methods=["ridge", "qca", "colour"])
    tissue[0, 0].figure.savefig(HERE / "tissue.png", dpi=75)


if __name__ == "__main__":
    main()

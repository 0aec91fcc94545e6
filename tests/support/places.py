"""Where the project's own files lie, for tests that hold them against the code."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]

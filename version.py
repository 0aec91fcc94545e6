"""The version of the package, and where its files lie."""

from pathlib import Path

__version__ = "0.1.0"
ROOT = Path(__file__).resolve().parent  # the package's folder: of a checkout the repository's root

"""The commands of the command line, one module each; heavy imports stay inside the functions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

# In the order of `qbench --help`; each module has a function `add(app)`.
MODULES = (
    "run",
    "sweep",
    "ablate",
    "leaderboard",
    "compare",
    "figures",
    "downstream",
    "verify",
    "reproduce",
    "list",
    "info",
    "protocol",
    "data",
    "check",
    "fit",
    "predict",
    "convert",
    "score",
    "submit",
    "cache",
    "bench",
    "doctor",
)


def add_commands(app: typer.Typer) -> None:
    """Register every command on the application."""
    for name in MODULES:
        import_module(f"{__name__}.{name}").add(app)

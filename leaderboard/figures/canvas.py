"""What all figures share: style, colours that survive colour blindness, and saving."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import QbenchError
from ...files import written
from ...names import path_part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's palette without its yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
TRUTH = "#333333"
MAP = "viridis"

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "axes.labelcolor": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "qbench",  # the same figure gives the same file
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Figures made inside look alike; nothing outside is changed, no window is ever opened."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, laid out by itself."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def colour(index: int) -> str:
    """The colour of the i-th thing drawn; after the last one they come again."""
    return COLOURS[index % len(COLOURS)]


def stroke(index: int) -> dict[str, Any]:
    """Colour and dashes of a line: once the colours are used up they come again, dashed otherwise."""
    return {"color": colour(index), "linestyle": ("-", "--", ":", "-.")[index // len(COLOURS) % 4]}


def hatch(index: int) -> str:
    """Hatching of a bar: none for the first colours, then another each time they come again."""
    return ("", "///", "...", "xxx")[index // len(COLOURS) % 4]


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.png (200 dpi) and `name`.svg, each under a temporary name first; the name as `path_part` writes it.

    Raises:
        QbenchError: the folder cannot be written.
    """
    stem = path_part(name)
    out = []
    try:
        for suffix in ("png", "svg"):
            path = folder / f"{stem}.{suffix}"
            with style(), written(path) as temporary:
                figure.savefig(temporary, format=suffix, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
            out.append(path)
    except OSError as error:
        raise QbenchError(
            f"Could not save figures in {folder}: {error.strerror or error}; choose another --output."
        ) from error
    return out

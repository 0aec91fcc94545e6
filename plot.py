"""What `qbench.run` returned, drawn: every function takes results, draws on the axes given (or new ones) and returns them.

An example::

    import qbench

    results = qbench.run("qca,ridge,mean")
    qbench.plot.board(results)
    qbench.plot.tissue(results, "A1", ["ERBB2", "COL1A1"])

The drawing is that of `qbench figures`. Rows are named as the table prints them; results of several protocols or tracks
need `table`, the place of the one to draw in `results.tables`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from .errors import ConfigurationError, unknown
from .leaderboard.figures import per_gene, rows
from .leaderboard.figures import tissue as maps
from .leaderboard.figures.canvas import MAP, style
from .leaderboard.figures.squares import draw_squares
from .leaderboard.row import RANKED_BY, Row
from .leaderboard.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from .leaderboard.frames import Results


def board(
    results: Results, figure: str = RANKED_BY, methods: Sequence[str] = (), *, table: int = 0, ax: Axes | None = None
) -> Axes:
    """Each row's mean of a figure, patients pale; with six patients or more and `pcc_hvg` its 95 % interval over patients.

    Args:
        results: of `qbench.run` or `qbench.read_runs`.
        figure: "pcc_hvg", "pcc_mg", "mse" or another column with a mean.
        methods: rows to draw, in this order; all without it.
        table: place in `results.tables`.
        ax: axes to draw on.

    Raises:
        ConfigurationError: an unknown row, table or figure.
    """
    of = _table(results, table)
    chosen = _having(_rows(of, methods), figure)
    with _axes(ax, 5.6, 0.3 * len(chosen) + 1.0) as axes:
        rows.draw_dots(axes, of, chosen, figure)
    return axes


def patients(
    results: Results, figure: str = RANKED_BY, methods: Sequence[str] = (), *, table: int = 0, ax: Axes | None = None
) -> Axes:
    """Each row's figure on each patient, a colour a patient: who is hard for all, and on whom a gap rests.

    Arguments and errors are those of `board`.
    """
    chosen = _having(_rows(_table(results, table), methods), figure)
    with _axes(ax, 5.6, 0.3 * len(chosen) + 1.4) as axes:
        rows.draw_patients(axes, chosen, figure)
    return axes


def genes(results: Results, methods: Sequence[str] = (), *, table: int = 0, ax: Axes | None = None) -> Axes:
    """The distribution of each row's PCC over the panel's genes: median, quartiles, and the highly variable genes as dots.

    Arguments are those of `board`.

    Raises:
        ConfigurationError: an unknown row or table, or no stored scores.
    """
    of = _table(results, table)
    found = per_gene.pcc_by_gene(of, _rows(of, methods), results.folders)
    if not found:
        raise _nothing("scores", "these rows")
    with _axes(ax, max(4.0, 0.95 * len(found) + 1.2), 3.4) as axes:
        per_gene.draw_violins(axes, found)
    return axes


def tissue(
    results: Results,
    section: str,
    genes: Sequence[str],
    methods: Sequence[str] = (),
    *,
    scale: Literal["fixed", "own"] = "fixed",
    table: int = 0,
    axes: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Genes on a section's tissue, log1p: the truth, then what each row predicts, unrounded, with its PCC.

    Args:
        results: of `qbench.run` or `qbench.read_runs`.
        section: a test section, "A1".
        genes: a line of panels each; those that no panel has are refused.
        methods: rows to draw, in this order; without it all ranked ones.
        scale: "fixed": truth and methods share a gene's colours; "own": each panel from its least to its largest value.
        table: place in `results.tables`.
        axes: array of axes (genes, 1 + rows) to draw on.

    Returns:
        The array of axes (genes, 1 + rows).

    Raises:
        ConfigurationError: an unknown row, table or gene, no stored predictions of the section, or too few axes.
    """
    of = _table(results, table)
    chosen = _rows(of, methods) if methods else [row for row in of.rows if row.rank is not None]
    found = maps.read_maps(chosen, section, list(genes), results.folders)
    if found is None or set(genes) - set(found.genes):
        missing = set(genes) - set(found.genes if found else ())
        raise _nothing(f"predictions of {', '.join(sorted(missing)) or 'a gene'}", f"section {section}")
    shape = len(found.genes), len(found.titles)
    if axes is not None and axes.shape != shape:
        raise ConfigurationError(
            f"Expected axes of {shape[0]} x {shape[1]} (genes, truth and rows), found {axes.shape}; make them with plt.subplots"
            f"({shape[0]}, {shape[1]}, squeeze=False)."
        )
    if axes is None:
        drawn = _figure(1.9 * shape[1] + 0.7, 1.9 * shape[0] + 0.4)
        with style():
            axes = drawn.subplots(*shape, squeeze=False)
    with style():
        maps.draw_maps(axes, found, scale)
    return axes


def encoders(
    results: Results, figure: str = RANKED_BY, methods: Sequence[str] = (), *, table: int = 0, ax: Axes | None = None
) -> Axes:
    """Method by encoder as a heat map, each axis from the best; arguments are those of `board`.

    Raises:
        ConfigurationError: rows on fewer than two encoders, an unknown row or table.
    """
    found = rows.encoder_squares(_rows(_table(results, table), methods), figure)
    if found is None:
        raise ConfigurationError(
            "Expected rows on two encoders or more, found fewer; run the methods with encoders=['NAME', 'OTHER']."
        )
    with _axes(ax, 1.1 * len(found[0]) + 2.4, 0.42 * len(found) + 1.2) as axes:
        draw_squares(axes, found, rows.name_of(figure), colours=f"{MAP}_r" if figure.startswith("mse") else MAP)
    return axes


@contextmanager
def _axes(given: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """The axes given, or those of a new figure, in the style of all figures while they are drawn on."""
    drawn = None if given is not None else _figure(width, height)
    with style():
        yield given if drawn is None else drawn.add_subplot()  # type: ignore[misc]  # one of them is there


def _figure(width: float, height: float) -> Figure:
    """A figure that a notebook shows: what its backend sets up with the first one would not outlast the style."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return plt.figure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.12))


def _table(results: Results, place: int) -> Table:
    if not 0 <= place < len(results.tables):
        raise ConfigurationError(f"Expected a place among {len(results.tables)} tables, found {place}; count from 0.")
    return results.tables[place]


def _rows(table: Table, methods: Sequence[str]) -> list[Row]:
    """The rows named, else all."""
    for name in methods:
        if table.row(name) is None:
            raise unknown("row", name, {row.title for row in table.rows})
    return [row for name in methods if (row := table.row(name)) is not None] if methods else list(table.rows)


def _having(chosen: Sequence[Row], figure: str) -> list[Row]:
    found = rows.having(chosen, figure)
    if not found:
        raise unknown("figure", figure, {name for row in chosen for name in row.figures})
    return found


def _nothing(what: str, where: str) -> ConfigurationError:
    return ConfigurationError(f"Expected {what} stored for {where}, found none; run these cells again, or draw others.")

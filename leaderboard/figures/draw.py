"""Every figure that a runs folder can give, written below one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...names import path_part
from ..row import RANKED_BY, Row
from ..table import Table
from .ablation import ablations, sweeps
from .canvas import save
from .choose import check_methods, choose_rows
from .codebook import features_and_codes
from .distributions import of_gene
from .entropy import by_weight
from .per_gene import per_gene
from .rows import board, by_encoder, patients
from .tissue import on_tissue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GENES = ("PTPRF", "TRAF4", "ERBB2")  # Figure 3 of the QCA paper, and the amplified gene
Progress = Callable[[str, int, int], None]


def draw_figures(
    tables: Sequence[Table],
    folders: Mapping[str, Path],
    output: Path,
    genes: Sequence[str] = GENES,
    progress: Progress | None = None,
    methods: Sequence[str] = (),
) -> list[Path]:
    """Write all figures of all tables, PNG and SVG, into `output`/<dataset>-<protocol>-<target>-<track>-<hash>.

    Tissue figures show one section a patient, the first by id. `methods` are labels, or names for all their settings:
    each of them is in every figure that it has data for, and `progress` is told where it has none. Without any they are
    the five best ranked rows, and every complete row in the ablations. Figures whose data are not stored are left out.

    Raises:
        ConfigurationError: a method that no table has, or nothing stored of it.
        QbenchError: the folder cannot be written.
    """
    check_methods(tables, methods, folders)
    paths: list[Path] = []
    for done, table in enumerate(tables):
        p = table.protocol
        folder = output / f"{path_part(p.dataset)}-{path_part(p.name)}-{p.target}-{table.track}-{p.hash[:8]}"
        rows, notes = choose_rows(table, methods, folders)
        for note in notes:
            if progress is not None:
                progress(note, done, len(tables))
        for name, figure in _figures(replace(table, rows=tuple(rows)) if methods else table, rows, folders, genes):
            if progress is not None:
                progress(f"{table.title}: {name}", done, len(tables))
            if figure is not None:
                paths += save(figure, folder, name)
    return paths


def _figures(
    table: Table, rows: Sequence[Row], folders: Mapping[str, Path], genes: Sequence[str]
) -> Iterator[tuple[str, Figure | None]]:
    for section in _first_sections(rows):
        yield f"tissue-{section}-fixed", on_tissue(table, rows, section, genes, folders, "fixed")
        yield f"tissue-{section}-own", on_tissue(table, rows, section, genes, folders, "own")
    for gene in genes:
        yield f"distribution-{gene}", of_gene(table, rows, gene, folders)
    yield "board", board(table, table.rows, RANKED_BY)
    yield "by-patient", patients(table, table.rows, RANKED_BY)
    yield "by-encoder", by_encoder(table, table.rows, RANKED_BY)
    yield "pcc-by-gene", per_gene(table, rows, folders)
    yield "entropy-by-weight", by_weight(table, rows, folders)
    for row in table.rows:
        yield f"codebook-{row.title}", features_and_codes(row, folders)
    yield from ablations(table).items()
    yield from sweeps(table).items()


def _first_sections(rows: Sequence[Row]) -> list[str]:
    """The first section of each patient."""
    first: dict[str, str] = {}
    for row in rows:
        for section, patient in sorted(row.patients.items()):
            first[patient] = min(section, first.get(patient, section))
    return [first[patient] for patient in sorted(first)]

"""Results as tidy data frames: the leaderboard itself, and the figures behind it by patient and by gene."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .export import tables_csv
from .row import HEADLINE, Row
from .stored import read_scores
from .table import Table

_WIDTH = 140  # characters of the table that a notebook shows: room for the spreads


class Results(pd.DataFrame):  # type: ignore[misc]  # pandas ships no types
    """The leaderboard, a line a row: `pcc_hvg` and the like as columns, spreads beside them (`pcc_hvg_sd_patients`).

    What is made of it (a selection, a copy) is a plain DataFrame. In a notebook it shows the table that the command line prints.

    Attributes:
        tables: what the lines are made of, one for each protocol and track.
        folders: of each cell whose files are stored, by its hash.
    """

    _metadata = ["tables", "folders"]  # noqa: RUF012  # pandas asks for a list of this name

    tables: list[Table]
    folders: dict[str, Path]

    def __init__(self, tables: Sequence[Table], folders: Mapping[str, Path]) -> None:
        super().__init__(pd.read_csv(io.StringIO(tables_csv(tables))))
        self.tables, self.folders = list(tables), dict(folders)

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def by_patient(self) -> pd.DataFrame:
        """A line a row and patient (seeds averaged): method, variant, encoder, patient, and the headline figures."""
        lines = []
        for row in self._rows():
            for patient in sorted(set(row.patients.values())):
                figures = {name: row.by_patient.get(name, {}).get(patient) for name in HEADLINE}
                lines.append({**_named(row), "patient": patient, **figures})
        return pd.DataFrame(lines)

    def by_gene(self) -> pd.DataFrame:
        """A line a row, seed, section and gene of the stored scores: `pcc`, `mse`, means and spreads, and the genes' lists.

        Raises:
            DataError: a file of scores is damaged.
        """
        parts = []
        for row in self._rows():
            for record in row.records:
                if record.status == "done" and record.cell in self.folders:
                    scores = read_scores(self.folders[record.cell])
                    part = scores[scores["level"] == "section"].drop(columns="level")
                    for place, (name, value) in enumerate({**_named(row), "seed": record.seed}.items()):
                        part.insert(place, name, value)
                    parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _rows(self) -> list[Row]:
        return [row for table in self.tables for row in table.rows]

    def _repr_html_(self) -> str:
        """The table as a notebook shows it: as the command line prints it, on lines that scroll instead of breaking."""
        from rich.console import Console

        from .terminal import print_tables

        console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_jupyter=False, highlight=False)
        print_tables(self.tables, console)
        frame = '<pre style="font-size:.85em;line-height:normal;overflow-x:auto">{code}</pre>'
        return console.export_html(inline_styles=True, code_format=frame)


def _named(row: Row) -> dict[str, str | None]:
    return {"method": row.method, "variant": row.variant, "encoder": row.encoder}

"""Spot maps of the page: truth and the best methods on the tissue, a byte a value."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .record import Record
from .row import Row
from .stored import StoredPredictions, read_predictions, read_scores
from .table import Table

METHODS = 5


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a section, and the size in pixels of the full-resolution image that spots are given in."""

    data: bytes
    media_type: Literal["image/jpeg", "image/png", "image/webp"]
    full_width: int
    full_height: int

    @property
    def uri(self) -> str:
        """The picture as a data URI, so that the page needs no other file."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


def shown_rows(table: Table) -> list[Row]:
    """The five best ranked rows, whose predictions the maps show."""
    return [row for row in table.rows if row.rank is not None][:METHODS]


def map_genes(table: Table, folders: Mapping[str, Path], wanted: Sequence[str]) -> list[str]:
    """Genes of the maps: the asked ones first, then the markers; without any, the first twelve HVG of a fold."""
    records = [record for row in shown_rows(table) for record in row.records if record.cell in folders]
    markers = [gene for record in records for gene in record.panel.get("mg", ())]
    chosen = list(dict.fromkeys([*wanted, *markers]))
    return chosen or list(dict.fromkeys(gene for record in records[:1] for gene in record.panel.get("hvg", ())))[:12]


def map_data(
    table: Table, folders: Mapping[str, Path], genes: Sequence[str], thumbnails: Mapping[tuple[str, str], Thumbnail]
) -> dict[str, Any] | None:
    """Maps of every test section; None where no predictions are stored.

    A section holds base64 of uint8 (genes, 1 + rows, spots): truth, then the rows; 255 is `scale` of the gene, the
    largest value of that gene on the section over truth and rows. The lowest seed of a row is shown.
    """
    rows = [row for row in shown_rows(table) if any(r.cell in folders for r in row.records if r.status == "done")]
    if not rows:
        return None
    sections: dict[str, dict[str, Any]] = {}
    for fold in table.folds:
        cells = [_first(row, fold, folders) for row in rows]
        stored = [None if cell is None else read_predictions(folders[cell.cell], genes) for cell in cells]
        known = next((s for s in stored if s is not None), None)
        if known is None:
            continue
        scores = [{} if cell is None else _pcc(folders[cell.cell], known.genes) for cell in cells]
        for section in dict.fromkeys(known.sections.tolist()):
            sections[section] = _section(section, known, stored, scores)
            thumbnail = thumbnails.get((table.protocol.tested, section))
            if thumbnail is not None and known.pixel_xy is not None:
                sections[section]["size"] = [thumbnail.full_width, thumbnail.full_height]
                sections[section]["image"] = True
    return {"rows": [row.key for row in rows], "sections": {name: sections[name] for name in sorted(sections)}}


def _first(row: Row, fold: str, folders: Mapping[str, Path]) -> Record | None:
    cells = [r for r in row.records if r.status == "done" and r.fold.name == fold and r.cell in folders]
    return min(cells, key=lambda record: record.seed, default=None)


def _pcc(folder: Path, genes: Sequence[str]) -> dict[tuple[str, str], float]:
    scores = read_scores(folder, ["level", "section", "gene", "pcc"])
    scores = scores[(scores["level"] == "section") & scores["gene"].isin(genes)]
    keys = zip(scores["section"], scores["gene"], strict=True)
    return dict(zip(keys, scores["pcc"].round(3).tolist(), strict=True))


def _section(
    section: str,
    known: StoredPredictions,
    stored: Sequence[StoredPredictions | None],
    scores: Sequence[Mapping[tuple[str, str], float]],
) -> dict[str, Any]:
    at = known.sections == section
    layers = [known.truth[at]]
    # Rows of one fold share the panel; a row that lacks this fold's cell is drawn empty.
    layers += [np.zeros_like(layers[0]) if s is None else s.prediction[s.sections == section] for s in stored]
    values = np.stack(layers).transpose(2, 0, 1)  # genes x layers x spots
    largest = np.maximum(values.max(axis=(1, 2)), 1e-6)
    packed = np.rint(255 * values / largest[:, None, None]).astype(np.uint8)
    xy = known.array_xy[at] if known.pixel_xy is None else known.pixel_xy[at]
    return {
        "patient": str(known.patients[at][0]),
        "genes": list(known.genes),
        "scale": [float(f"{value:.4g}") for value in largest],
        "values": base64.b64encode(packed.tobytes()).decode("ascii"),
        "pcc": [[found.get((section, gene)) for found in scores] for gene in known.genes],
        "absent": [s is None for s in stored],
        "xy": [round(float(v), 1) for v in xy.ravel()],
        "pixels": known.pixel_xy is not None,
        "image": False,
        "finer": None,
    }

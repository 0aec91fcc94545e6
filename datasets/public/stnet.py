"""ST-Net's sections (He et al. 2020, Mendeley 29ntw7sh4r): all files in one folder, named by its metadata.csv.

metadata.csv                  type, replicate, patient, histology_image, spot_coordinates, tumor_annotation, count_matrix
HE_BT23287_C1.jpg             full-resolution image
spots_BT23287_C1.csv.gz       "10x13" (place on the array), X and Y (pixel column and row); spots under tissue only
BC23287_C1_stdata.tsv.gz      counts, all spots of the array x Ensembl ids
BC23287_C1_Coords.tsv.gz      tumour or not, by spot; old Mac line ends, a header one name short
hgnc_complete_set_*.txt       HGNC's table of symbols; without it genes keep their Ensembl ids
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...text_files import read_text
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..count_table import read_count_table
from ..readers.genes import add_up_duplicates
from ..readers.listed import Reader, stated_image
from ..registry import Dataset, DatasetCard
from ..section import Section
from ..spot_tables import number, table_rows
from .opened import Place, array_section, folder_of, open_public, present

VERSION = 1
PITCH_MICRONS, SPOT_MICRONS = 200.0, 100.0  # of the array, stated by the authors
SYMBOLS = "hgnc_complete_set*.txt"
_FOLDER = "Human breast cancer in situ capturing transcriptomics"
_COLUMNS = ("replicate", "patient", "histology_image", "spot_coordinates", "tumor_annotation", "count_matrix")


def open_stnet(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the sections of metadata.csv whose counts are there; nothing is parsed but that table.

    Raises:
        DataError: no such folder, a damaged metadata.csv, or a section without its table of spots.
    """
    base = folder_of(card, data_dir, _FOLDER, "metadata.csv")
    symbols = max(base.glob(SYMBOLS), default=None)
    entries, tumour = [], {}
    for _, row in table_rows(base / "metadata.csv", _COLUMNS, ","):
        counts, spots, marks = (
            present(base / row[name]) for name in ("count_matrix", "spot_coordinates", "tumor_annotation")
        )
        if not counts.is_file():
            continue
        name = f"{row['patient']}_{row['replicate']}"
        image = row["histology_image"] if (base / row["histology_image"]).is_file() else None
        if row["tumor_annotation"] and marks.is_file():
            tumour[name] = marks
        entries.append(
            SectionEntry.model_validate(
                {
                    "id": name,
                    "patient": row["patient"],
                    "file": counts.name,
                    "spots": spots.name,
                    "image": image,
                    "labels": "tumor" if name in tumour else None,
                }
            )
        )

    def tables(entry: SectionEntry, base: Path) -> tuple[Path, ...]:
        more = (tumour.get(entry.id), symbols)
        return base / entry.file, base / str(entry.spots), *(path for path in more if path is not None)

    reader = Reader({"stnet": VERSION}, tables, partial(_read, tumour=tumour, symbols=symbols), stated_image)
    return open_public(card, base, cache, tuple(entries), reader)


def _read(entry: SectionEntry, base: Path, tumour: dict[str, Path], symbols: Path | None) -> Section:
    table = read_count_table(base / entry.file)
    table = replace(table, spots=tuple(_spot(name, base / entry.file) for name in table.spots))
    labels = _labels(tumour[entry.id]) if entry.id in tumour else None
    section = array_section(entry, table, _places(base / str(entry.spots)), PITCH_MICRONS, SPOT_MICRONS, labels)
    if symbols is None:
        note = f"genes keep their Ensembl ids: put HGNC's table ({SYMBOLS}) beside them for symbols"
        return replace(section, notes=(*section.notes, note))
    known = _symbols(symbols)
    names = tuple(known.get(gene.partition(".")[0], gene) for gene in section.genes)
    unknown = sum(name == gene for name, gene in zip(names, section.genes, strict=True))
    counts, genes, notes = add_up_duplicates(section.counts, names)
    more = (f"{unknown} Ensembl ids have no symbol in {symbols.name} and stay",) if unknown else ()
    return replace(section, counts=counts, genes=genes, notes=(*section.notes, *notes, *more))


def _places(path: Path) -> dict[str, Place]:
    """Place on the array and in the image of each spot, by its name; the name's column has none itself."""
    places: dict[str, Place] = {}
    for line, row in table_rows(path, ("", "X", "Y"), ","):
        name = _spot(row[""], path)
        if name in places:
            raise DataError(f"{path}, row {line}: spot {name} must appear once; remove the duplicate.")
        x, y = name.split("x")
        places[name] = (float(x), float(y), number(path, line, "X", row["X"]), number(path, line, "Y", row["Y"]))
    return places


def _spot(name: str, path: Path) -> str:
    """A spot's name as column x row, whole numbers."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", name)
    if match is None:
        raise DataError(f"Expected spots named such as 10x13 in {path}, found '{name[:40]}'; fetch the file again.")
    return f"{round(float(match[1]))}x{round(float(match[2]))}"


def _labels(path: Path) -> dict[str, str]:
    """Tumour or not, of each spot: the last of five cells, after the spot's name, x, y and a number."""
    text = read_text(path, "a table of labels", "fetch the file again")
    labels = {}
    for line, row in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:], start=1):
        cells = row.split("\t")
        if not row.strip():
            continue
        if len(cells) != 5:
            raise DataError(f"{path}, row {line}: expected 5 cells, found {len(cells)}; fetch the file again.")
        x, y = (number(path, line, column, cell) for column, cell in zip("xy", cells[1:3], strict=True))
        if np.isfinite([x, y]).all():
            labels[f"{round(x)}x{round(y)}"] = cells[4].strip()
    return labels


def _symbols(path: Path) -> dict[str, str]:
    """Symbol of each Ensembl id in HGNC's table."""
    rows = table_rows(path, ("symbol", "ensembl_gene_id"))
    return {row["ensembl_gene_id"]: row["symbol"] for _, row in rows if row["ensembl_gene_id"]}

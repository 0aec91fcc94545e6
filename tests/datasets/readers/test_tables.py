from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from qbench.datasets.cache import ArrayCache
from qbench.datasets.registry import open_dataset
from qbench.datasets.section import Section
from qbench.errors import DataError

from ...support.datasets_sections import GENES, grid, write_card, write_tables


def load(tmp_path: Path, file: str = "S1.csv", **more: object) -> Section:
    entry = {"id": "S1", "patient": "P1", "file": file, "spots": "S1_spots.csv", **more}
    card = write_card(tmp_path / "mine.yaml", "tables", [{k: v for k, v in entry.items() if v is not None}])
    return open_dataset(str(card), None, ArrayCache(tmp_path / "cache")).load("S1")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_counts_and_positions(tmp_path: Path, separator: str) -> None:
    values = write_tables(tmp_path, separator=separator)
    section = load(tmp_path, "S1.csv" if separator == "," else "S1.tsv")
    assert section.genes == GENES
    assert (section.counts.toarray() == values).all()
    assert (section.pixel_xy == grid()).all()
    assert np.allclose(section.array_xy, grid() / 100)


def test_quoted_cells_and_array_positions(tmp_path: Path) -> None:
    values = write_tables(tmp_path)
    path = tmp_path / "S1.csv"
    path.write_text(
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in path.read_text().splitlines())
    )
    spots = pd.read_csv(tmp_path / "S1_spots.csv")
    spots["array_x"], spots["array_y"] = np.arange(12), 5
    spots.to_csv(tmp_path / "S1_spots.csv", index=False)
    section = load(tmp_path)
    assert (section.counts.toarray() == values).all()
    assert (section.array_xy == np.column_stack([np.arange(12), np.full(12, 5)])).all()


def test_normalised_values_are_named(tmp_path: Path) -> None:
    write_tables(tmp_path)
    table = pd.read_csv(tmp_path / "S1.csv", index_col=0)
    np.log1p(table).round(3).to_csv(tmp_path / "S1.csv")
    with pytest.raises(DataError, match=r"row 1 .*expected a whole, non-negative count.*give the table of raw counts"):
        load(tmp_path)


def test_a_transposed_table(tmp_path: Path) -> None:
    write_tables(tmp_path)
    pd.read_csv(tmp_path / "S1.csv", index_col=0).T.to_csv(tmp_path / "S1.csv")
    with pytest.raises(DataError, match="the other way round; transpose"):
        load(tmp_path)


def test_faults_of_the_table_of_spots(tmp_path: Path) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1_spots.csv"
    good = path.read_text()
    path.write_text(good.replace("spot,x,y", "barcode,x,y"))
    with pytest.raises(DataError, match=r"Expected columns spot, x and y in .*found barcode, x, y"):
        load(tmp_path)
    path.write_text(good.replace("spot3,", "spot2,"))
    with pytest.raises(DataError, match="spot spot2 must appear once"):
        load(tmp_path)
    path.write_text("\n".join(good.splitlines()[:-2]))
    with pytest.raises(DataError, match=r"2 of 12 spots with counts have no position .*spot10, spot11"):
        load(tmp_path)
    with pytest.raises(DataError, match="name it in the card with 'spots:'"):
        load(tmp_path, spots=None)


@pytest.mark.parametrize("cell", ["", "NA", "nan", "inf"])
def test_a_spot_without_a_position_is_named(tmp_path: Path, cell: str) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1_spots.csv"
    good = path.read_text()
    path.write_text(good.replace("spot3,450.0", f"spot3,{cell}"))
    with pytest.raises(DataError, match=r"1 of 12 spots have no position in .*S1_spots\.csv \(spot3\)"):
        load(tmp_path)
    spots = pd.read_csv(tmp_path / "S1_spots.csv").assign(x=0.0, array_x=np.arange(12.0), array_y=0.0).astype(object)
    spots.loc[7, "array_x"] = cell
    spots.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"1 of 12 spots have no array position .*\(spot7\)"):
        load(tmp_path)


@pytest.mark.parametrize("head", ["x,y", ",x,y", '"",x,y'])
def test_positions_as_r_and_pandas_write_them(tmp_path: Path, head: str) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1_spots.csv"
    path.write_text(path.read_text().replace("spot,x,y", head))
    assert (load(tmp_path).pixel_xy == grid()).all()


def test_positions_with_semicolons_or_decimal_commas(tmp_path: Path) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1_spots.csv"
    good = path.read_text()
    path.write_text(good.replace(",", ";"))
    with pytest.raises(DataError, match='found them separated by ";"'):
        load(tmp_path)
    path.write_text(good.replace("spot3,450.0", 'spot3,"450,0"'))
    with pytest.raises(DataError, match="found '450,0'; write decimals with a point"):
        load(tmp_path)


@pytest.mark.parametrize("gene", ["", "  ", "ERBB2 ", " ERBB2"])
def test_a_gene_without_a_name_or_with_blanks_around_it_is_refused(tmp_path: Path, gene: str) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1.csv"
    path.write_text(path.read_text().replace(",ERBB2,", f",{gene},", 1))
    with pytest.raises(DataError, match="expected names of genes without blanks around them"):
        load(tmp_path)


@pytest.mark.parametrize("corner", ["", "spot", "Barcode"])
def test_a_header_that_lacks_its_last_gene_shifts_no_counts(tmp_path: Path, corner: str) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1.csv"
    head, rest = path.read_text().split("\n", 1)
    path.write_text(f"{corner}{head.rpartition(',')[0]}\n{rest}")
    with pytest.raises(DataError, match="expected 5 counts, found 6"):
        load(tmp_path)


def test_a_column_of_positions_stands_once_and_numbers_are_plain(tmp_path: Path) -> None:
    write_tables(tmp_path)
    path = tmp_path / "S1_spots.csv"
    text = path.read_text()
    path.write_text("\n".join(line + (",x" if i == 0 else ",7") for i, line in enumerate(text.splitlines())))
    with pytest.raises(DataError, match="Expected each column once"):
        load(tmp_path)
    path.write_text(text.replace("150.0", "1_50.0", 1))
    with pytest.raises(DataError, match=r"row 1, column 'x': expected a number, found '1_50\.0'"):
        load(tmp_path)

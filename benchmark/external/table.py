"""Predictions made elsewhere, as AnnData or as a long table, looked up by section, spot and gene."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...array_files import read_parquet
from ...errors import DataError, reading
from ...files import unpacked_bytes
from ...names import from_spreadsheet_cell

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("section", "spot", "gene", "prediction")
_SHOWN = 5


@dataclass(frozen=True)
class ExternalSection:
    """The predictions of one section, float64 (spots, genes); NaN where there is none."""

    spots: tuple[str, ...]
    genes: tuple[str, ...]
    values: NDArray[np.float64]

    def matrix(self, spots: tuple[str, ...], genes: tuple[str, ...], where: str) -> NDArray[np.float64]:
        """The values of the named spots and genes, in that order.

        Raises:
            DataError: names the spots, genes or values that are missing.
        """
        rows, columns = {name: i for i, name in enumerate(self.spots)}, {name: i for i, name in enumerate(self.genes)}
        for what, known, wanted in (("spots", rows, spots), ("panel genes", columns, genes)):
            lost = [name for name in wanted if name not in known]
            if lost:
                raise DataError(
                    f"{where}: {len(lost)} of {len(wanted)} {what} have no prediction ({_some(lost)}); 'qbench "
                    "protocol export' writes the spots and panels that are scored."
                )
        found = self.values[np.ix_([rows[name] for name in spots], [columns[name] for name in genes])]
        empty = np.argwhere(np.isnan(found))
        if len(empty):
            pairs = [f"{spots[i]} {genes[j]}" for i, j in empty[:_SHOWN]]
            raise DataError(
                f"{where}: {len(empty)} of {found.size} predictions are missing or NaN ({', '.join(pairs)}"
                f"{', ...' if len(empty) > _SHOWN else ''}); predict every spot and panel gene."
            )
        return found


def read_predictions(path: Path) -> dict[str, ExternalSection]:
    """By section its predictions, from `.h5ad`, `.csv`, `.csv.gz`, `.tsv` or `.parquet`.

    An `.h5ad` holds X (spots, genes) and obs["section"], with obs["spot"] or names "SECTION_SPOT"; a table has the
    columns section, spot, gene, prediction.

    Raises:
        DataError: another kind of file, columns that are missing, or a pair that appears twice.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"Expected predictions in {path}, but there is no such file; check the path.")
    if name.endswith(".h5ad"):
        return _from_anndata(path)
    if name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")):
        return _from_table(path, _read_table(path))
    raise DataError(f"Expected predictions as .h5ad, .csv, .tsv or .parquet, found {path.name}; write one of these.")


def _from_anndata(path: Path) -> dict[str, ExternalSection]:
    from scipy import sparse

    from ...datasets.readers.anndata_file import open_anndata, read_part

    with open_anndata(path) as file:
        obs, var = read_part(file, "obs"), read_part(file, "var")
        if "section" not in obs or "X" not in file:
            raise DataError(
                f"Expected X and obs['section'] in {path}, found obs columns {_some(list(obs.columns)) or 'none'}."
            )
        values = read_part(file, "X")
    sections = obs["section"].astype(str).to_numpy()
    if "spot" in obs:
        spots = obs["spot"].astype(str).to_numpy()
    else:
        spots = np.array([str(n).removeprefix(f"{s}_") for n, s in zip(obs.index, sections, strict=True)], dtype=object)
    genes = tuple(str(gene) for gene in var.index)
    _once(genes, "gene", path)
    out = {}
    for section in dict.fromkeys(sections):
        rows = np.flatnonzero(sections == section)
        names = tuple(str(spots[i]) for i in rows)
        _once(names, f"spot of section {section}", path)
        part = values[rows]
        dense = part.toarray() if sparse.issparse(part) else np.asarray(part)
        out[str(section)] = ExternalSection(names, genes, dense.astype(np.float64))
    return out


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    what, remedy = "a table of predictions", "write it anew"
    with reading(what, path, remedy):
        if path.suffix == ".parquet":
            return read_parquet(path, what, remedy).to_pandas()
        separator = "\t" if ".tsv" in path.suffixes else ","
        kinds = {"section": "category", "spot": "category", "gene": "category"}
        missing = {"prediction": ["", "NA", "NaN", "nan"]}
        data = io.BytesIO(unpacked_bytes(path))
        return pd.read_csv(data, sep=separator, dtype=kinds, keep_default_na=False, na_values=missing)


def _from_table(path: Path, table: pd.DataFrame) -> dict[str, ExternalSection]:
    import pandas as pd

    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"Expected columns {', '.join(COLUMNS)} in {path}, found no {', '.join(missing)} but "
            f"{_some(list(table.columns))}; name them so."
        )
    try:
        values = pd.to_numeric(table["prediction"]).to_numpy(dtype=np.float64)  # numpy alone reads 1_0 as 10
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected numbers in column 'prediction' of {path}, but {error}; correct them.") from error
    codes, names = {}, {}
    for column in COLUMNS[:3]:
        category = table[column].astype(str).astype("category").cat
        codes[column] = category.codes.to_numpy().astype(np.intp)
        names[column] = [from_spreadsheet_cell(str(name)) for name in category.categories]
    out = {}
    for code, section in enumerate(names["section"]):
        rows = np.flatnonzero(codes["section"] == code)
        spots, at_spot = np.unique(codes["spot"][rows], return_inverse=True)
        genes, at_gene = np.unique(codes["gene"][rows], return_inverse=True)
        place = at_spot * len(genes) + at_gene
        if len(np.unique(place)) != len(place):
            first = int(np.flatnonzero(np.bincount(place) > 1)[0])
            pair = f"{names['spot'][spots[first // len(genes)]]} {names['gene'][genes[first % len(genes)]]}"
            raise DataError(
                f"{path}: section {section} has more than one prediction of {pair}; give each spot and gene once."
            )
        matrix = np.full(len(spots) * len(genes), np.nan)
        matrix[place] = values[rows]
        out[section] = ExternalSection(
            tuple(names["spot"][i] for i in spots),
            tuple(names["gene"][i] for i in genes),
            matrix.reshape(len(spots), len(genes)),
        )
    return out


def _once(names: tuple[str, ...], what: str, path: Path) -> None:
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(
            f"{path}: each {what} must appear once, but {twice} appears more than once; remove the duplicate."
        )


def _some(names: list[Any]) -> str:
    return ", ".join(map(str, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")

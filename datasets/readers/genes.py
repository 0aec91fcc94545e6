"""Gene names as symbols: Ensembl ids mapped where the file says how, several genes of one symbol added up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse

from ...errors import DataError
from ..section import whole_counts

SYMBOL_COLUMNS = (
    "gene_symbols",
    "gene_symbol",
    "gene_name",
    "gene_names",
    "symbol",
    "symbols",
    "SYMBOL",
    "feature_name",
    "hgnc_symbol",
)
ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "feature_id", "feature_ids", "id", "ids")
_NAMELESS = {"nan", "none", "na", "n/a", "<na>", "null"}  # in a column of symbols
_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?$")
MOST = 0.5  # above this share of Ensembl ids, the names are ids; below, some genes simply have no symbol


def are_ensembl(names: Sequence[str]) -> bool:
    """Whether most of the names are Ensembl gene ids."""
    return sum(1 for name in names if _ENSEMBL.match(name)) > MOST * len(names)


def to_symbols(
    names: Sequence[str], columns: Mapping[str, Sequence[str]], wanted: str | None, where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of genes as symbols where the file knows them, and notes.

    Args:
        names: as the file states them.
        columns: text columns that describe the genes, by name.
        wanted: the column that the card names, or None.
        where: for messages.

    Raises:
        DataError: a column that is not there, or Ensembl ids of which the file's columns give hardly any symbol.
    """
    if wanted is not None and wanted not in columns:
        raise DataError(
            f"{where}: expected gene symbols in var column '{wanted}', found {_listed(columns)}; mend 'symbols:' in the card."
        )
    if wanted is None and not are_ensembl(names):
        return tuple(names), ()
    column = wanted or next((name for name in SYMBOL_COLUMNS if name in columns), None)
    if column is None:
        return tuple(names), ("gene names are Ensembl ids and no column of symbols is known (name it with 'symbols:')",)
    given = [str(value).strip() for value in columns[column]]
    known = [bool(value) and value.casefold() not in _NAMELESS for value in given]
    if sum(known) <= MOST * len(given):
        raise DataError(
            f"{where}: expected gene symbols in var column '{column}', but it names only {sum(known)} of {len(given)} "
            "genes; name another column with 'symbols:' in the card."
        )
    symbols = tuple(symbol if ok else name for symbol, ok, name in zip(given, known, names, strict=True))
    return symbols, (f"Ensembl ids read as symbols of column '{column}'",)


def named_genes(
    counts: sparse.csr_matrix,
    names: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    wanted: str | None,
    where: str,
) -> tuple[sparse.csr_matrix, tuple[str, ...], tuple[str, ...]]:
    """Counts by symbol, the symbols, and notes: several genes of one symbol are added up where their ids tell them apart.

    Args: as of `to_symbols`; counts: CSR (spots, genes).

    Raises:
        DataError: see `to_symbols`; or symbols that appear twice, and nothing says that they are several genes.
    """
    symbols, notes = to_symbols(names, columns, wanted, where)
    if symbols == tuple(names) and not are_ensembl(names):
        if _tell_apart(columns, names):
            symbols = _without_numbers(symbols)
        else:
            refuse_duplicates(symbols, where)
    counts, symbols, more = add_up_duplicates(counts, symbols)
    return counts, symbols, (*notes, *more)


def _tell_apart(columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> bool:
    """Whether a column of ids, Ensembl's or others named so, gives each gene one of its own."""
    return any(
        len(set(values)) == len(names)
        for column, values in columns.items()
        if are_ensembl(values) or column.lower() in ID_COLUMNS
    )


def _without_numbers(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Symbols as they were before AnnData's `var_names_make_unique` made TBCE-1 of the second TBCE."""
    known = set(symbols)
    parts = [symbol.rpartition("-") for symbol in symbols]
    return tuple(
        base if last.isdigit() and base in known else symbol
        for symbol, (base, _, last) in zip(symbols, parts, strict=True)
    )


def add_up_duplicates(
    counts: sparse.csr_matrix, symbols: tuple[str, ...]
) -> tuple[sparse.csr_matrix, tuple[str, ...], tuple[str, ...]]:
    """Counts, symbols and notes, with the columns of one symbol added up: 10x names some for several Ensembl ids."""
    twice = [name for name, times in Counter(symbols).items() if times > 1]
    if not twice:
        return counts, symbols, ()
    unique = tuple(dict.fromkeys(symbols))
    place = {name: i for i, name in enumerate(unique)}
    columns = np.array([place[name] for name in symbols])
    sums = sparse.csr_matrix(
        (np.ones(len(symbols), dtype=np.int64), (np.arange(len(symbols)), columns)),
        shape=(len(symbols), len(unique)),
    )
    name = "symbol names" if len(twice) == 1 else "symbols name"
    note = f"{len(twice)} {name} several genes, whose counts are added up: {', '.join(sorted(twice)[:5])}"
    return whole_counts(counts @ sums, "Genes of one symbol"), unique, (note + (", ..." if len(twice) > 5 else ""),)


def refuse_duplicates(symbols: Sequence[str], where: str) -> None:
    """Stop at gene symbols that appear twice.

    Raises:
        DataError: names the first five.
    """
    twice = sorted(name for name, times in Counter(symbols).items() if times > 1)
    if twice:
        raise DataError(
            f"{where}: each gene must appear once, but {', '.join(twice[:5])} "
            f"{'appears' if len(twice) == 1 else 'appear'} more than once; merge the duplicates, or use Ensembl ids as "
            "names with the symbols in a var column, which are added up."
        )


def _listed(columns: Mapping[str, object]) -> str:
    return ", ".join(columns) or "no text column"

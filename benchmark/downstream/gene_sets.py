"""Gene sets: those shipped, and those of a GMT file; a set's score of a spot is the plain mean of its genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ...errors import ConfigurationError, DataError, unknown
from ...names import check_labels
from ...text_files import read_text
from ...yaml_files import read_model
from ..scoring.metrics import Values, is_constant, pearson

LEAST = 3  # genes of a set that the panel must have: fewer are single genes, which have scores of their own
MOST = 10_000  # sets of a file
_FOLDER = resources.files("qbench.configs").joinpath("gene_sets")

GeneSets = Mapping[str, tuple[str, ...]]


class _Shipped(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    genes: tuple[str, ...]
    source: str


class _Collection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    sets: dict[str, _Shipped]


def shipped() -> list[str]:
    """Names of the collections that come with qbench."""
    return sorted(p.name.removesuffix(".yaml") for p in _FOLDER.iterdir() if p.name.endswith(".yaml"))


def read_gene_sets(asked: Sequence[str]) -> GeneSets:
    """The sets of collections and GMT files, set -> genes, in the order asked.

    Args:
        asked: names of shipped collections, and paths that end in `.gmt` (or `.gmt.gz`).

    Raises:
        ConfigurationError: an unknown collection, or one name for two sets.
        DataError: a file that cannot be read or is no GMT.
    """
    out: dict[str, tuple[str, ...]] = {}
    for each in asked:
        found = _read_gmt(Path(each)) if each.endswith((".gmt", ".gmt.gz")) else _read_shipped(each)
        for name, genes in found.items():
            if name in out:
                raise ConfigurationError(
                    f"Expected each gene set once, found '{name}' twice in {', '.join(asked)}; rename one of them."
                )
            out[name] = genes
    return out


def columns_of(sets: GeneSets, genes: Sequence[str]) -> dict[str, NDArray[np.intp]]:
    """Set -> columns of its genes in a panel; an empty array where the panel has fewer than three of them."""
    where = {gene: i for i, gene in enumerate(genes)}
    found = {name: [where[gene] for gene in own if gene in where] for name, own in sets.items()}
    return {name: np.array(at if len(at) >= LEAST else [], dtype=np.intp) for name, at in found.items()}


def set_correlations(
    truth: Values, prediction: Values, columns: Mapping[str, NDArray[np.intp]]
) -> dict[str, float | None]:
    """Pearson's correlation over the spots of each set's score; 0 where a side is constant, None where too few genes."""
    scored = [name for name, at in columns.items() if len(at)]
    out: dict[str, float | None] = dict.fromkeys(columns)
    if scored:
        y = np.stack([truth[:, columns[name]].mean(axis=1) for name in scored], axis=1)
        x = np.stack([prediction[:, columns[name]].mean(axis=1) for name in scored], axis=1)
        out |= dict(zip(scored, pearson(y, x, is_constant(y) | is_constant(x)).tolist(), strict=True))
    return out


def _read_shipped(name: str) -> dict[str, tuple[str, ...]]:
    if name not in shipped():
        raise unknown("collection of gene sets (or FILE.gmt)", name, shipped())
    collection = read_model(_FOLDER.joinpath(f"{name}.yaml"), _Collection, "gene sets", "docs/scores.md")
    return {set_: held.genes for set_, held in collection.sets.items()}


def _read_gmt(path: Path) -> dict[str, tuple[str, ...]]:
    remedy = "write a line a set: name, description and genes, with tabs between them"
    text = read_text(path, "gene sets (GMT)", remedy)
    out: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, *rest = (cell.strip() for cell in line.split("\t"))
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes or name in out or len(out) >= MOST:
            wrong = (
                "no name" if not name
                else "no genes" if not genes
                else f"the set '{name[:80]}' again" if name in out
                else f"more than {MOST:,} sets"
            )  # fmt: skip
            raise DataError(f"Expected a gene set in line {number} of {path}, found {wrong}; {remedy}.")
        check_labels(f"a gene set in line {number} of {path}", [name], DataError)
        check_labels(f"a gene in line {number} of {path}", genes, DataError)
        out[name] = genes
    if not out:
        raise DataError(f"Expected gene sets in {path}, found none; {remedy}.")
    return out

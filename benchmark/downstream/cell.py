"""Downstream figures of a stored cell: made from its predictions, written beside its record, and held against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import written
from ...leaderboard.ceiling import LISTS, truth_counts
from ...leaderboard.downstream import (
    AGAIN,
    FILE,
    VERSION,
    StoredDownstream,
    content_hash,
    parquet_metadata,
    read_genes,
    read_stored,
)
from ...leaderboard.record import Record
from ...leaderboard.stored import StoredPredictions, open_predictions, read_predictions, read_scores
from ..scoring.metrics import is_constant
from .domains import packages, same_packages
from .gene_sets import GeneSets, columns_of
from .section import Figures, Known, SectionTruth, know, section_figures

Labels = Mapping[str, Mapping[str, str]]  # section -> spot -> what a pathologist calls it
_RELATIVE, _ABSOLUTE = 1e-6, 1e-6  # another machine sums in another order
# Domains are whole clusters: a spot that changes sides on another machine moves them by more.
_DOMAINS = ("ari_", "nmi_", "domains_")


@dataclass
class Memory:
    """What cells of one truth share, so that methods of a fold make it once; small beside the values themselves."""

    known: dict[tuple[Any, ...], Known] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """The figures of a cell by section, its ceilings, and the per-gene columns of its file."""

    figures: dict[str, Figures]
    ceilings: dict[str, Figures]
    columns: dict[str, NDArray[Any]]


def make(
    folder: Path,
    record: Record,
    sets: GeneSets,
    labels: Mapping[str, NDArray[np.str_]],
    memory: Memory,
    with_domains: bool = True,
) -> Made:
    """Every figure of a cell from its stored predictions.

    Args:
        folder: of the cell.
        record: of the cell.
        sets: set -> genes.
        labels: section -> labels in the order of the section's spots; sections without any are left out.
        memory: of the cells made before.
        with_domains: whether domains are looked for.

    Raises:
        DataError: files that are missing or damaged.
    """
    from threadpoolctl import threadpool_limits

    stored = read_predictions(folder)
    counts = truth_counts(stored)
    lists = _lists(folder, stored)
    columns = columns_of(sets, stored.genes)
    figures, ceilings, genes = {}, {}, []
    names = list(dict.fromkeys(stored.sections.tolist()))
    for name in names:
        at = stored.sections == name
        truth = SectionTruth(
            values=stored.truth[at].astype(np.float64),
            counts=counts[at],
            library_size=stored.library_size[at],
            target=stored.target,
            array_xy=stored.array_xy[at],
            lists=lists[name],
            columns=columns,
            labels=labels.get(name),
        )
        hashes = record.hashes
        spoken = None if truth.labels is None else tuple(truth.labels.tolist())
        key = (hashes.data, hashes.split, hashes.panel, stored.target, name, tuple(sets.items()), spoken, with_domains)
        prediction = stored.prediction[at].astype(np.float64)
        with threadpool_limits(1):  # matrices this small are slower with more, much so on a busy machine
            if key not in memory.known:
                memory.known[key] = know(truth, with_domains)
            known = memory.known[key]
            figures[name], per_gene = section_figures(truth, prediction, known, with_domains)
        ceilings[name] = known.ceilings
        genes.append({"constant_prediction": is_constant(prediction).astype(np.float64), **per_gene})
    kinds = dict.fromkeys(kind for per_gene in genes for kind in per_gene)
    none = np.full(len(stored.genes), np.nan)
    table: dict[str, NDArray[Any]] = {
        "section": np.repeat(np.array(names, dtype=object), len(stored.genes)),
        "gene": np.tile(np.array(stored.genes, dtype=object), len(names)),
        **{kind: np.concatenate([per_gene.get(kind, none) for per_gene in genes]) for kind in kinds},
    }
    return Made(figures, ceilings, table)


def write(
    folder: Path, record: Record, sets: GeneSets, labels: Mapping[str, NDArray[np.str_]], memory: Memory
) -> StoredDownstream:
    """Make a cell's figures and store them beside its record; the record stays as it is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = make(folder, record, sets, labels, memory)
    stored = StoredDownstream(
        version=VERSION,
        predictions=record.hashes.predictions or "",
        figures=made.figures,
        ceilings=made.ceilings,
        sets={name: tuple(genes) for name, genes in sets.items()},
        labels={name: tuple(own.tolist()) for name, own in labels.items() if name in made.figures},
        packages=packages(),
    )
    stored = stored.model_copy(update={"sha256": content_hash(stored, made.columns)})
    table = pa.table({name: pa.array(values) for name, values in made.columns.items()})
    with written(folder / FILE) as temporary:
        pq.write_table(table.replace_schema_metadata(parquet_metadata(stored)), temporary)
    return stored


def check(folder: Path, record: Record, memory: Memory) -> list[str]:
    """Contradictions between a cell's downstream file and its predictions, a sentence each; none without a file.

    A file of older definitions is held against its hash alone, domains are so where the packages that find them are
    other ones.

    Raises:
        DataError: files that cannot be read.
    """
    stored = read_stored(folder)
    if stored is None:
        return []
    frame = read_genes(folder)
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    if content_hash(stored, columns) != stored.sha256:
        return [f"{FILE} is not the one that was written (sha256 differs); {AGAIN}"]
    if stored.predictions != record.hashes.predictions:
        return [f"{FILE} is of other predictions; {AGAIN}"]
    if stored.version != VERSION:
        return []
    labels = {name: np.array(own, dtype=np.str_) for name, own in stored.labels.items()}
    with_domains = same_packages(stored.packages)
    made = make(folder, record, stored.sets, labels, memory, with_domains)
    found = []
    for kind, ours, theirs in (("figures", made.figures, stored.figures), ("ceilings", made.ceilings, stored.ceilings)):
        for section in sorted({*ours, *theirs}):
            a, b = _held(ours.get(section, {}), with_domains), _held(theirs.get(section, {}), with_domains)
            wrong = [name for name in sorted({*a, *b}) if not _same(a.get(name), b.get(name))]
            found += [f"{FILE}: {kind} {section} {n} is {b.get(n)}, computed again {a.get(n)}" for n in wrong]
    for name, values in made.columns.items():
        if name not in columns or not _equal(values, columns[name]):
            found.append(f"{FILE}: {name} is not what the predictions give")
    return found


def section_labels(folder: Path, labels: Labels) -> dict[str, NDArray[np.str_]]:
    """Of a cell's sections those with labels, in the order of its spots."""
    return {
        name: np.array([labels[name].get(spot, "") for spot in spots], dtype=np.str_)
        for name, spots in spots_by_section(folder).items()
        if name in labels
    }


def spots_by_section(folder: Path) -> dict[str, list[str]]:
    """Names of the spots of each of a cell's sections, in their order."""
    from anndata import io

    with open_predictions(folder) as file:
        spots = io.read_elem(file["obs"])[["section", "spot"]].astype(str)
    return {name: spots.loc[spots["section"] == name, "spot"].tolist() for name in dict.fromkeys(spots["section"])}


def _lists(folder: Path, stored: StoredPredictions) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """By section which genes stand in each list of the panel."""
    scores = read_scores(folder, ["level", "section", "gene", *LISTS]).query("level == 'section'")
    return {
        str(section): {name: own.loc[list(stored.genes), name].to_numpy(dtype=bool) for name in LISTS}
        for section, own in scores.set_index("gene").groupby("section")
    }


def _held(figures: Mapping[str, float | None], with_domains: bool) -> dict[str, float | None]:
    return {name: v for name, v in figures.items() if with_domains or not name.startswith(_DOMAINS)}


def _same(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return bool(np.isclose(ours, theirs, _RELATIVE, _ABSOLUTE))


def _equal(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    if len(ours) != len(theirs):
        return False
    if ours.dtype == object:
        return bool((ours == theirs).all())
    return bool(np.allclose(ours, theirs.astype(np.float64), _RELATIVE, _ABSOLUTE, equal_nan=True))

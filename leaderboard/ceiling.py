"""The counting-noise ceiling: the correlation that counting alone allows, estimated from stored truth.

A count is a noisy measurement of a rate. Splitting every count binomially in halves gives two independent measurements of
the same rates with half the depth (a Poisson variable split so gives two independent Poisson variables). Their
correlation r over spots is the reliability of a half; Spearman and Brown's formula 2r / (1 + r) gives that of the whole,
and its square root is the correlation of the measurement with what it measures: no prediction of the rates can be
expected to correlate higher with the counts.

Bias: log1p bends more at half the depth, and 2r / (1 + r) assumes noise of equal size at every spot; for sparse genes the
result lies a few hundredths from the true ceiling (docs/scores.md, and a simulation among the tests). On `counts` the
depth of a spot is part of the rate, so the ceiling includes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..array_files import read_arrays
from ..errors import DataError
from ..files import written
from .record import Record
from .row import Row
from .stored import StoredPredictions, read_predictions, read_scores

VERSION = 1  # of the estimate; raised when it moves, so that stored ones are made anew
SPLITS = 20
SCALE = 1e4  # counts per ten thousand, as the proportion target has it
LISTS = ("mg", "hvg", "heg", "all")


@dataclass(frozen=True)
class Ceiling:
    """Of one table: averaged as the figures are, over genes, a patient's sections, then patients.

    `mean` and `by_section` are by list ("mg", "hvg", "heg", "all"), null (absent) where a list is empty; `by_gene`
    averages a gene over sections, then patients, for every gene of any fold's panel.
    """

    mean: Mapping[str, float]
    by_section: Mapping[str, Mapping[str, float]]
    by_gene: Mapping[str, float]

    def share(self, name: str, value: float | None) -> float | None:
        """Of the ceiling, the part that a mean PCC reaches: a ratio of means, never a mean of ratios."""
        return None if value is None or not self.mean.get(name) else value / self.mean[name]


def truth_counts(stored: StoredPredictions) -> NDArray[np.int64]:
    """Integer counts (n, genes), recovered exactly from the truth in target space and the library size.

    Raises:
        DataError: values that are no transformed counts.
    """
    values = np.expm1(stored.truth.astype(np.float64))
    if stored.target == "proportion":
        values *= stored.library_size[:, None] / SCALE
    counts = np.rint(values)
    # float32 keeps log1p to 2.4e-7, which is a relative error of the count: well below a half up to 10^5 counts.
    if counts.size and np.abs(values - counts).max() > 0.25:
        raise DataError("Expected a truth layer made of integer counts, found fractions; run the cell again.")
    return counts.astype(np.int64)


def gene_ceilings(
    counts: NDArray[np.int64], library_size: NDArray[np.int64], target: str, splits: int = SPLITS, seed: int = 0
) -> NDArray[np.float64]:
    """Ceiling of each gene over the spots of one section, float64 (genes,); 0 where the halves do not agree.

    Args:
        counts: (n, genes).
        library_size: (n,) over all genes, of which the panel is a part.
        target: "counts" or "proportion"; each half goes through it with its own library size.
        splits: over how many random halvings r is averaged.
        seed: of the halvings.
    """
    total = np.zeros(counts.shape[1])
    for half, other in halves(counts, library_size, target, splits, seed):
        total += _correlation(half, other)
    return whole(total / splits)


def halves(
    counts: NDArray[np.int64], library_size: NDArray[np.int64], target: str, splits: int, seed: int = 0
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Binomial halvings of counts, each half in target space (n, genes); the arguments are those of `gene_ceilings`."""
    rng = np.random.default_rng(seed)
    spot, gene = np.nonzero(counts)
    filled = counts[spot, gene]
    inside = counts.sum(axis=1)
    for _ in range(splits):
        half = np.zeros(counts.shape)
        half[spot, gene] = rng.binomial(filled, 0.5)
        other = counts - half
        if target == "proportion":
            depth = half.sum(axis=1) + rng.binomial(library_size - inside, 0.5)
            half = _proportion(half, depth)
            other = _proportion(other, library_size - depth)
        yield np.log1p(half), np.log1p(other)


def whole(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ceiling from the correlation of halves: the square root of the whole's reliability by Spearman and Brown."""
    return np.sqrt(np.maximum(0.0, 2 * r / (1 + r)))


def table_ceiling(rows: Iterable[Row], folders: Mapping[str, Path]) -> Ceiling | None:
    """The ceiling of the folds of a table's rows, each from any one of its cells; None where one has no stored predictions.

    Results are kept in `.ceilings` of the protocol's folder, keyed by the data, the split and the panel.
    """
    cells: dict[str, Record] = {}
    patients: dict[str, str] = {}
    due: set[str] = set()
    for row in rows:
        for record in row.records:
            if record.status == "done" and set(record.scores) & set(row.patients):
                due.add(record.fold.name)
                if record.cell in folders:
                    cells.setdefault(record.fold.name, record)
        patients |= row.patients
    if cells.keys() != due:  # a mean over some of the folds is not what the rows can be held against
        return None
    by_section: dict[str, dict[str, float]] = {name: {} for name in LISTS}
    genes: dict[str, dict[str, float]] = {}
    for record in cells.values():
        folder = folders[record.cell]
        masks = read_scores(folder, ["level", "section", "gene", *LISTS]).query("level == 'section'")
        for section, values in _fold_ceilings(folder, record).items():
            own = masks[masks["section"] == section]
            for name in LISTS:
                chosen = values[own[name].to_numpy()]
                if len(chosen):
                    by_section[name][section] = float(chosen.mean())
            for gene, value in zip(own["gene"], values.tolist(), strict=True):
                genes.setdefault(gene, {})[section] = value
    if not genes:
        return None
    return Ceiling(
        mean={name: _over_patients(values, patients) for name, values in by_section.items() if values},
        by_section=by_section,
        by_gene={gene: _over_patients(values, patients) for gene, values in genes.items()},
    )


def _fold_ceilings(folder: Path, record: Record) -> dict[str, NDArray[np.float64]]:
    hashes = record.hashes
    parts = (str(VERSION), record.protocol.target, hashes.data, hashes.split, hashes.panel)
    key = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
    kept = folder.parent / ".ceilings" / f"{key}.npz"
    if kept.is_file():
        try:
            return read_arrays(kept, "ceilings", "they are computed again")
        except DataError as error:
            logging.getLogger("qbench").warning("%s", error)
    stored = read_predictions(folder)
    counts = truth_counts(stored)
    out = {
        str(section): gene_ceilings(counts[at], stored.library_size[at], stored.target)
        for section in dict.fromkeys(stored.sections.tolist())
        for at in [stored.sections == section]
    }
    if os.access(folder.parent, os.W_OK):
        with written(kept) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **out)  # type: ignore[arg-type]
    return out


def _over_patients(by_section: Mapping[str, float], patients: Mapping[str, str]) -> float:
    groups: dict[str, list[float]] = {}
    for section, value in by_section.items():
        groups.setdefault(patients.get(section, section), []).append(value)
    return float(np.mean([np.mean(values) for values in groups.values()]))


def _proportion(counts: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.zeros_like(counts)
    np.divide(SCALE * counts, total[:, None], out=shares, where=total[:, None] > 0)
    return shares


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    a = a - a.mean(axis=0)
    b = b - b.mean(axis=0)
    scale = np.sqrt(np.einsum("ij,ij->j", a, a) * np.einsum("ij,ij->j", b, b))
    r = np.zeros(a.shape[1])
    np.divide(np.einsum("ij,ij->j", a, b), scale, out=r, where=scale > 1e-12)
    return r

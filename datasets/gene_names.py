"""Sections name their genes alike, and which genes of a panel a section's file does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import DataError
from .cache import ArrayCache
from .registry import Dataset
from .spot_hashes import section_spots

_NAMED = 10  # of a long list, in a sentence


def check_gene_names(dataset: Dataset, sections: Iterable[str], cache: ArrayCache) -> None:
    """Stop where some sections name genes by symbol and others by Ensembl id: they would share no gene.

    Raises:
        DataError: names the sections and what each uses.
    """
    by_id: dict[bool, list[str]] = {True: [], False: []}
    for section in dict.fromkeys(sections):
        by_id[section_spots(dataset, section, cache).ensembl].append(section)
    if by_id[True] and by_id[False]:
        raise DataError(
            f"Gene names are Ensembl ids in {_listed(by_id[True])} and symbols in {_listed(by_id[False])}; name the "
            "column of symbols with 'symbols:' in the card."
        )


def check_given_genes(dataset: Dataset, sections: Iterable[str], genes: Iterable[str], source: str) -> None:
    """Stop at a section that lacks genes which a benchmark scores; `source` is the file that lists them.

    Raises:
        DataError: names the section and the genes.
    """
    wanted = tuple(genes)
    for name in sections:
        known = set(dataset.load(name).genes)
        if lost := [gene for gene in wanted if gene not in known]:
            raise DataError(
                f"Section {name}: expected the {len(wanted)} genes of {source} among its own, found {len(lost)} of them missing "
                f"({_listed(lost)}); give the files of one task."
            )


def missing_genes(dataset: Dataset, sections: Iterable[str], genes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By section those of the genes, in their order, that its file does not have and that read 0 there.

    Raises:
        DataError: a section that has none of them.
    """
    wanted = tuple(genes)
    missing = {}
    for name in dict.fromkeys(sections):
        section = dataset.load(name)
        known = set(section.genes)
        lost = tuple(gene for gene in wanted if gene not in known)
        if len(lost) == len(wanted):
            raise DataError(
                f"Section {name}: expected genes of the panel ({', '.join(wanted[:3])}, ...), found none of them (its genes "
                f"are {', '.join(section.genes[:3])}, ...); give its genes the names that the training sections use."
            )
        if lost:
            missing[name] = lost
    return missing


def missing_notes(missing: Mapping[str, Iterable[str]]) -> list[str]:
    """A sentence for each section that lacks genes."""
    return [
        f"Section {section} lacks {len(lost)} gene{'s' if len(lost) > 1 else ''} of the panel, which read 0 there: "
        f"{_listed(lost)}."
        for section, lost in sorted((name, sorted(genes)) for name, genes in missing.items())
    ]


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

"""What decides a number, and nothing else: one identity for the cells of runs and sweeps, for `score` and for `fit`.

Names and hashes of what went in, values and versions of the rules; never prose, paths or hardware. A version is raised by
hand whenever numbers move, where its constant stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...datasets import patches, protocol, stain_treatment
from ...datasets.cache import ArrayCache
from ...datasets.folds import SIDES, Fold
from ...datasets.hashing import canonical_hash
from ...datasets.protocol import Protocol
from ...datasets.registry import Dataset
from ...datasets.spot_hashes import SectionSpots, section_spots
from ...datasets.target import TargetName
from ...leaderboard.record import PatchRecord
from ...methods import machine, scaling
from ..scoring import metrics as score
from ..scoring.plugin_metrics import metrics
from ..settings import RunSettings
from .resolve import ResolvedMethod

Spots = Mapping[str, SectionSpots]


def read_spots(dataset: Dataset, sections: Iterable[str], cache: ArrayCache) -> Spots:
    """What each section's spots are, by section id; a section that is not in the cache yet is parsed.

    Raises:
        DataError: damaged tables.
    """
    return {section: section_spots(dataset, section, cache) for section in sections}


def contents_of(spots: Spots) -> dict[str, str]:
    """The hash of each section's parsed content, by its id."""
    return {section: found.content for section, found in spots.items()}


def trained_by(
    resolved: ResolvedMethod, options: RunSettings, patch: PatchRecord, precision: str, seed: int
) -> dict[str, Any]:
    """A method that is trained here: with its parameters and weights, what it reads, and how it is trained."""
    surroundings = resolved.inputs.surroundings
    return {
        **resolved.identity(),
        "profile": options.profile,
        "patches": {**patch.model_dump(), **_versions(patch)} if resolved.inputs.image else None,
        **({"views": [some.identity() for some in resolved.inputs.views]} if resolved.inputs.views else {}),
        **({} if surroundings is None else {"surroundings": surroundings.identity()}),
        "scaling": scaling.SCALING_VERSION,
        "precision": precision,
        **({"bf16": machine.BF16_VERSION} if precision == "bf16" else {}),
        "seed": seed,
        "select": options.select,
        "max_epochs": options.max_epochs,
    }


def _versions(patch: PatchRecord) -> dict[str, int]:
    treated = {} if patch.stain == "none" else {"stain_version": stain_treatment.STAIN_VERSION}
    return {"version": patches.PATCH_VERSION, **treated}


def predicted_by(name: str, digest: str, scale: str, profile: str) -> dict[str, Any]:
    """Predictions made elsewhere: the file (sha256) and how its numbers are read."""
    return {"method": name, "external": digest, "scale": scale, "profile": profile, "seed": 0}


def identity_of(
    by: Mapping[str, Any], dataset: Dataset, fold: Fold, spots: Spots, target: TargetName, under: Protocol | None
) -> dict[str, Any]:
    """All that decides the numbers of a method on a fold, JSON-able.

    Args:
        by: of `trained_by` or `predicted_by`.
        dataset: whose readers and cards the sections come from.
        fold: its sections, or parts of them, on each side.
        spots: of the fold's sections, see `read_spots`.
        target: "counts" or "proportion".
        under: the protocol that scores it; None for a fit, which nobody scores.
    """
    return {**by, **identity_on(dataset, fold, spots, target, under)}


def identity_on(
    dataset: Dataset, fold: Fold, spots: Spots, target: TargetName, under: Protocol | None
) -> dict[str, Any]:
    """The part of `identity_of` that every method shares on a fold."""
    patients = {info.id: info.patient for info in dataset.sections}
    scored = {} if under is None else {
        "protocol": under.hash,
        "scores": score.SCORE_VERSION,
        **({"metrics": {metric.name: metric.origin for metric in metrics()}} if metrics() else {}),
    }  # fmt: skip
    return {
        **scored,
        "target": target,
        "rules": rules_of(dataset),
        "reader": dict(dataset.versions),
        "fold": fold_identity(fold, patients, spots),
    }


def rules_of(dataset: Dataset) -> dict[str, Any]:
    """The rules in force for a dataset, or for one that is tested on another."""
    return protocol.rules(dataset.card.markers, dataset.card.technical_genes, dataset.tested is not None)


def fold_identity(fold: Fold, patients: Mapping[str, str], spots: Spots) -> dict[str, Any]:
    """The whole fold: by side, each section with its patient, which and how many of its spots, and its parsed content."""

    def side(name: str) -> dict[str, Any]:
        return {
            part.section: {
                "patient": patients[part.section],
                "portion": part.portion,
                "spots": part.count(len(spots[part.section].hashes)),
                "content": spots[part.section].content,
            }
            for part in getattr(fold, name)
        }

    return {"name": fold.name, **{name: side(name) for name in SIDES}}


def data_hash(spots: Spots) -> str:
    """One hash for the parsed contents of sections, by their ids."""
    return canonical_hash(contents_of(spots))


def fold_data(fold: Mapping[str, Any]) -> str:
    """The same for the sections of a fold's identity."""
    return canonical_hash({section: part["content"] for side in SIDES for section, part in fold[side].items()})

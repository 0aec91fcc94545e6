"""Hold the split that a record states, and the spots that it predicted, against the identity that its cell is the hash of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from ...datasets import protocol as protocols
from ...datasets.folds import SIDES, Fold, Part, Portion, is_leaky, make_folds, shares_patient
from ...datasets.panel import GenePanel
from ...datasets.protocol import Protocol
from ...errors import QbenchError
from ...leaderboard.record import Record
from ...leaderboard.stored import StoredPredictions
from .identity import fold_data

HOLDS_SPLIT = 2  # the schema of records from which on an identity holds the whole fold


class HeldPart(BaseModel):
    """A section on one side of a fold, as an identity holds it."""

    patient: str
    portion: Portion
    spots: int
    content: str


class HeldFold(BaseModel):
    """A fold, as an identity holds it: by side, section -> part."""

    name: str
    train: dict[str, HeldPart]
    validation: dict[str, HeldPart]
    test: dict[str, HeldPart]


class HeldRules(BaseModel):
    """Of an identity's rules what predictions are held against; markers as (group, genes)."""

    panel_size: int
    headline: int
    markers: list[tuple[str, list[str]]]
    technical_genes: list[str]


class Held(BaseModel):
    """Of an identity what the split and the panel follow from."""

    fold: HeldFold
    rules: HeldRules
    target: str


def read_held(record: Record) -> Held | None:
    """What the identity holds; None where it holds no split: an older record, or a damaged one, see `check_split`."""
    try:
        return Held.model_validate(record.identity) if record.schema_version >= HOLDS_SPLIT else None
    except ValidationError:
        return None


def check_split(record: Record) -> list[str]:
    """Where the record's protocol and fold contradict its identity, a sentence each."""
    if record.schema_version < HOLDS_SPLIT:
        return ["its identity, of an older qbench, does not hold the fold's sections and patients; run the cell again"]
    identity = read_held(record)
    if identity is None:
        return ["its identity does not have the parts that a cell's has; run the cell again"]
    try:
        protocol = Protocol.model_validate(record.protocol.definition)
    except ValidationError:
        return ["the protocol's definition in the record is none"]
    found = _check_protocol(record, protocol)
    held = {side: getattr(identity.fold, side) for side in SIDES}
    patients = {section: part.patient for side in SIDES for section, part in held[side].items()}
    train, validation, test = (_parts(held[side]) for side in SIDES)
    fold = Fold(record.fold.name, train, validation, test, record.fold.validation_rule)
    spots = {side: sum(part.spots for part in held[side].values()) for side in SIDES}
    learned = {patients[part.section] for part in (*fold.train, *fold.validation)}
    stated: dict[str, tuple[Any, Any]] = {
        "name of the fold": (record.fold.name, identity.fold.name),
        "training sections": (record.fold.train, _names(fold.train)),
        "validation sections": (record.fold.validation, _names(fold.validation)),
        "test sections": (record.fold.test, _names(fold.test)),
        "test patients": (record.fold.test_patients, tuple(patients[part.section] for part in fold.test)),
        "patients": ({s: p for s, p in protocol.patients.items() if s in patients}, patients),
        "number of training spots": (record.fold.n_train_spots, spots["train"]),
        "number of validation spots": (record.fold.n_validation_spots, spots["validation"]),
        "number of test spots": (record.fold.n_test_spots, spots["test"]),
        "split's hash": (record.hashes.split, fold.hash),
        "data's hash": (record.hashes.data, fold_data(record.identity["fold"])),
        "rules": (protocol.rules, record.identity["rules"]),
        "target": (record.protocol.target, identity.target),
        "patient_in_training": (
            record.fold.patient_in_training,
            any(patients[p.section] in learned for p in fold.test),
        ),
    }
    found += [f"the record's {name} is not that of its identity" for name, (a, b) in stated.items() if a != b]
    if shares_patient(fold, patients) and not record.protocol.leaky:
        found.append("a patient stands on two sides of its fold, and the record does not say that it leaks")
    return found + _check_folds(record, protocol, fold)


def _check_protocol(record: Record, protocol: Protocol) -> list[str]:
    stated = record.protocol
    same = all(getattr(protocol, name) == getattr(stated, name) for name in _SHARED)
    if protocol.hash != stated.hash or not same:
        return ["the record's protocol is not the one that its hash is of"]
    return []


_SHARED = ("name", "dataset", "test_dataset", "sections", "held_out", "target", "images")


def _check_folds(record: Record, protocol: Protocol, fold: Fold) -> list[str]:
    """Make the protocol's folds again from its sections and patients; skipped where the rule has moved since."""
    if protocol.rules.get("validation") != protocols.VALIDATION_VERSION:
        return []
    try:
        folds = make_folds(protocol, protocol.patients)
    except QbenchError as error:
        return [f"its protocol gives no folds: {error}"]
    found = []
    if record.protocol.leaky != (protocol.unit != "patient" or is_leaky(folds, protocol.patients)):
        found.append(
            f"the record says {'' if record.protocol.leaky else 'not '}leaky, its protocol and patients say otherwise"
        )
    if fold.hash not in {again.hash for again in folds if again.name == fold.name}:
        found.append(f"its fold is none that protocol {protocol.name} makes of these sections and patients")
    return found


def check_stored(record: Record, stored: StoredPredictions, n_ranked: int) -> list[str]:
    """Where the spots and genes of `predictions.h5ad` contradict the identity, a sentence each."""
    identity = read_held(record)
    if identity is None:
        return []
    found = []
    held = identity.fold.test
    there = {name: stored.sections == name for name in dict.fromkeys(stored.sections.tolist())}
    if set(there) != set(held):
        found.append(f"predictions are of {_listed(there)}, the identity's test sections are {_listed(held)}")
    for section in sorted(set(there) & set(held)):
        patients = np.unique(stored.patients[there[section]]).tolist()
        if patients != [held[section].patient]:
            found.append(
                f"predictions of {section} are under patient {_listed(patients)}, its identity's is {held[section].patient}"
            )
        if (n := int(there[section].sum())) != held[section].spots:
            found.append(f"predictions of {section} are of {n} spots, its identity's are {held[section].spots}")
    return found + _check_panel(record, identity.rules, stored, n_ranked)


def _check_panel(record: Record, rules: HeldRules, stored: StoredPredictions, n_ranked: int) -> list[str]:
    lists = {name: record.panel.get(name, ()) for name in ("hvg", "heg")}
    markers = {group: record.panel.get(f"mg:{group}", ()) for group, _ in rules.markers}
    panel = GenePanel(stored.genes, n_ranked, lists["hvg"], lists["heg"], markers, record.markers_missing, "")
    named = {gene for genes in markers.values() for gene in genes} | set(record.markers_missing)
    listed = {gene for _, genes in rules.markers for gene in genes}
    ranked = set(stored.genes[:n_ranked])
    fits = (
        panel.hash == record.hashes.panel
        and n_ranked <= rules.panel_size
        and panel.hvg == stored.genes[: min(rules.headline, n_ranked)]
        and len(panel.heg) == len(panel.hvg)
        and set(panel.heg) <= ranked
        and panel.mg == record.panel.get("mg", ())
        and named == listed
        and set(stored.genes) - ranked == set(panel.mg) - ranked
    )
    return [] if fits else ["the panel of the record and its predictions is not the one of its hash and rules"]


def _parts(side: Mapping[str, HeldPart]) -> tuple[Part, ...]:
    return tuple(Part(section, part.portion) for section, part in side.items())


def _names(parts: tuple[Part, ...]) -> tuple[str, ...]:
    return tuple(part.section for part in parts)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"

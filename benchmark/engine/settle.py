"""The protocol of a run on the sections at hand: which take part, the folds, and whether a patient leaks."""

from __future__ import annotations

from dataclasses import dataclass

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold, is_leaky, make_folds
from ...datasets.gene_names import check_gene_names
from ...datasets.leaks import check_leaks, one_patient_notes
from ...datasets.protocol import Protocol, ProtocolFile, read_protocol, rules
from ...datasets.registry import Dataset, SectionInfo, open_dataset
from ...errors import ConfigurationError, IntegrityError, unknown
from ..settings import RunSettings
from .identity import Spots, data_hash, read_spots


def open_data(options: RunSettings, cache: ArrayCache) -> Dataset:
    """The dataset of a run; its folder comes from --data-dir, else from QBENCH_DATA."""
    return open_dataset(options.dataset, options.data_dir, cache)


def choose_sections(
    dataset: Dataset, wanted: tuple[str, ...], images: bool, listed: tuple[str, ...] | None
) -> tuple[list[SectionInfo], list[str]]:
    """The sections that take part, sorted by id, and notes on those left out.

    Raises:
        ConfigurationError: a section asked for by name that is unknown, or has no image where images are needed.
    """
    known = {info.id: info for info in dataset.sections}
    for name in wanted:
        if name not in known:
            raise unknown(f"section of {dataset.card.name}", name, known)
        if images and known[name].image is None:
            raise ConfigurationError(
                f"Section {name} of {dataset.card.name} has no image here; add it to the folder, leave the section out, "
                "or use --no-images with methods that need none."
            )
    chosen = [known[name] for name in sorted(set(wanted) or known)]
    notes = []
    if listed is not None:
        absent = [name for name in listed if name not in known]
        if absent:
            notes.append(f"The protocol lists {', '.join(absent)}, which this folder does not have.")
        chosen = [info for info in chosen if info.id in set(listed)]
    if images:
        without = [info.id for info in chosen if info.image is None]
        if without:
            notes.append(
                f"Left out, no image: {', '.join(without)} (--no-images uses them with methods that need none)."
            )
        chosen = [info for info in chosen if info.image is not None]
    if not chosen:
        raise ConfigurationError(
            f"No section of {dataset.card.name} is left to run on; check --sections, --protocol and the images in its folder."
        )
    return chosen, notes


@dataclass(frozen=True)
class Settled:
    """A protocol on the sections at hand: its folds, whether it leaks a patient, notes, and by section patient and spots."""

    protocol: Protocol
    folds: tuple[Fold, ...]
    leaky: bool
    notes: list[str]
    patients: dict[str, str]
    spots: Spots


def settle_protocol(options: RunSettings, dataset: Dataset, cache: ArrayCache) -> Settled:
    """The protocol that the options name, on the sections that the dataset has; sections that are not cached are parsed.

    Raises:
        IntegrityError: a leaky protocol without --allow-leaky, or any other leak.
        DataError: damaged tables, or sections that name their genes in different ways.
    """
    file: ProtocolFile = read_protocol(options.protocol)
    if file.dataset is not None and file.dataset != dataset.card.name:
        raise ConfigurationError(
            f"Protocol '{file.name}' belongs to the dataset {file.dataset}, found {dataset.card.name}; "
            f"use --dataset {file.dataset}, or another protocol."
        )
    infos, notes = choose_sections(dataset, options.sections, not options.no_images, file.sections)
    notes = [*dataset.notes, *notes]
    patients = {info.id: info.patient for info in infos}
    spots = read_spots(dataset, patients, cache)
    protocol = Protocol(
        name=file.name,
        title=file.title,
        dataset=dataset.card.name,
        sections=tuple(info.id for info in infos),
        held_out=file.held_out,
        unit=file.unit,
        folds=file.folds,
        target=options.target,
        images=not options.no_images,
        patients=patients,
        data=data_hash(spots),
        rules=rules(dataset.card.markers, dataset.card.technical_genes),
    )
    folds = make_folds(protocol, patients)
    leaky = protocol.unit != "patient" or is_leaky(folds, patients)
    if leaky and not options.allow_leaky:
        raise IntegrityError(
            f"Protocol '{protocol.name}' leaks: a test section's patient may be in training; its numbers do not say how a "
            "method does on a new patient. Add --allow-leaky to run it, in a table of its own."
        )
    check_gene_names(dataset, protocol.sections, cache)
    notes += one_patient_notes(check_leaks(dataset, folds, protocol.unit == "patient", cache), patients)
    return Settled(protocol, folds, leaky, notes, patients, spots)

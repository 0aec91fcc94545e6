"""The protocol of a run on the sections at hand: which take part, the folds, and whether a patient leaks."""

from __future__ import annotations

from dataclasses import dataclass

from ...datasets.cache import ArrayCache
from ...datasets.folds import Fold, is_leaky, make_folds
from ...datasets.gene_names import check_gene_names, check_given_genes
from ...datasets.joined import held_out, joined, training_part
from ...datasets.leaks import check_leaks, one_patient_notes
from ...datasets.protocol import TRANSFER, Given, HeldOut, Protocol, ProtocolFile, read_protocol
from ...datasets.registry import Dataset, SectionInfo, open_dataset
from ...errors import ConfigurationError, IntegrityError, unknown
from ..settings import DEFAULT_PROTOCOL, RunSettings
from .identity import Spots, data_hash, read_spots, rules_of


def open_data(options: RunSettings, cache: ArrayCache) -> Dataset:
    """The dataset of a run, its folder from --data-dir, else from QBENCH_DATA; with --test-on, both datasets as one.

    Raises:
        ConfigurationError, DataError, IntegrityError: see `open_dataset` and `joined`.
    """
    dataset = open_dataset(options.dataset, options.data_dir, cache)
    if options.test_on is None:
        return dataset
    return joined(dataset, open_dataset(options.test_on, options.test_data_dir, cache))


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


def _choose_both(
    dataset: Dataset, tested: Dataset, wanted: tuple[str, ...], images: bool
) -> tuple[list[SectionInfo], HeldOut, list[str]]:
    """Of two datasets the sections that take part, and the held-out group; one of which no section is named gives all."""
    known = {info.id for info in dataset.sections}
    if unheard := [name for name in wanted if name not in known]:
        raise unknown(f"section of {dataset.card.name} or {tested.card.name}", unheard[0], known)
    others = {info.id for info in tested.sections}
    chosen, notes = [], []
    for part, ids in ((training_part(dataset), known - others), (tested, others)):
        infos, said = choose_sections(part, tuple(name for name in wanted if name in ids), images, None)
        chosen.append({info.id: info for info in infos})
        notes += said
    patients = [{name: info.patient for name, info in infos.items()} for infos in chosen]
    both = chosen[0] | chosen[1]
    return [both[name] for name in sorted(both)], held_out(patients[0], patients[1], tested.card.name), notes


def _protocol_file(options: RunSettings) -> ProtocolFile:
    """The protocol that is asked for; two datasets have one of their own.

    Raises:
        ConfigurationError: another protocol for two datasets, or theirs for one.
    """
    if options.test_on is None:
        file = read_protocol(options.protocol)
        if file.name == TRANSFER:
            raise ConfigurationError(
                f"Protocol '{TRANSFER}' tests on another dataset; name it with --test-on, for example --test-on demo-shifted."
            )
        return file
    if options.protocol not in (DEFAULT_PROTOCOL, TRANSFER):
        raise ConfigurationError(
            f"--test-on {options.test_on} has a protocol of its own, '{TRANSFER}', found --protocol {options.protocol}; leave out "
            "one of the two."
        )
    return read_protocol(TRANSFER)


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
    file = _protocol_file(options)
    if file.dataset is not None and file.dataset != dataset.card.name:
        raise ConfigurationError(
            f"Protocol '{file.name}' belongs to the dataset {file.dataset}, found {dataset.card.name}; "
            f"use --dataset {file.dataset}, or another protocol."
        )
    given = _given(file, options, dataset)
    groups = file.folds if given is None else given.folds
    if dataset.tested is None:
        infos, notes = choose_sections(dataset, options.sections, not options.no_images, file.sections)
    else:
        infos, group, notes = _choose_both(dataset, dataset.tested, options.sections, not options.no_images)
        groups = (group,)
    notes = [*dataset.notes, *notes]
    patients = {info.id: info.patient for info in infos}
    spots = read_spots(dataset, patients, cache)
    protocol = Protocol(
        name=file.name,
        title=file.title,
        dataset=dataset.card.name,
        test_dataset=None if dataset.tested is None else dataset.tested.card.name,
        sections=tuple(info.id for info in infos),
        held_out=file.held_out,
        unit=file.unit,
        folds=groups,
        target=options.target,
        images=not options.no_images,
        patients=patients,
        data=data_hash(spots),
        rules=rules_of(dataset),
        genes=None if given is None else given.genes,
    )
    folds = make_folds(protocol, patients)
    leaky = protocol.unit != "patient" or is_leaky(folds, patients)
    if leaky and not options.allow_leaky:
        raise IntegrityError(
            f"Protocol '{protocol.name}' leaks: a test section's patient may be in training; its numbers do not say how a "
            "method does on a new patient. Add --allow-leaky to run it, in a table of its own."
        )
    check_gene_names(dataset, protocol.sections, cache)
    if given is not None:
        check_given_genes(dataset, protocol.sections, given.genes, given.genes_from)
    notes += one_patient_notes(check_leaks(dataset, folds, protocol.unit == "patient", cache), patients)
    return Settled(protocol, folds, leaky, notes, patients, spots)


def _given(file: ProtocolFile, options: RunSettings, dataset: Dataset) -> Given | None:
    """What the dataset's benchmark fixes, under a protocol that takes it over whole; None under the others."""
    if file.held_out != "splits":
        return None
    if dataset.given is None:
        raise ConfigurationError(
            f"Protocol '{file.name}' takes the splits and genes of a benchmark's task, which {dataset.card.name} does not have; "
            "name tasks with --tasks IDC,PRAD, or use another protocol."
        )
    for flag, changed in (
        (f"--target {options.target}", options.target != "counts"),
        ("--sections", options.sections),
        ("--no-images", options.no_images),
        (f"--stain {options.stain}", options.stain != "none"),
    ):
        if changed:
            raise ConfigurationError(
                f"Protocol '{file.name}' is log1p raw counts of every sample and its patches, so that its numbers are the benchmark's; "
                f"leave out {flag}, or use --protocol patient."
            )
    return dataset.given

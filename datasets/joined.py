"""Two datasets as one: all patients of the first to learn from, those of the second to be tested on."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ConfigurationError, IntegrityError
from ..names import UNNAMED
from .folds import last_of_three
from .protocol import HeldOut
from .registry import Dataset, SectionInfo
from .section import Section


def joined(training: Dataset, tested: Dataset) -> Dataset:
    """The sections of both, under the card of the first: its markers, its technical genes.

    Raises:
        ConfigurationError: one dataset twice, or sections of both that have one name.
        IntegrityError: patients of both that have one name.
    """
    first, second = training.card.name, tested.card.name
    if first == second:
        raise ConfigurationError(f"Expected another dataset in --test-on than in --dataset, found {first} in both.")
    shared = {info.patient for info in training.sections} & {info.patient for info in tested.sections} - {UNNAMED}
    if shared:
        raise IntegrityError(
            f"Patients {', '.join(sorted(shared))} are in {first} and in {second}, so that testing on the one leaks what the other "
            "taught; remove them from one of the two, or rename them in its card if they are other people."
        )
    own = {info.id for info in training.sections}
    twice = sorted(own & {info.id for info in tested.sections})
    if twice:
        raise ConfigurationError(
            f"Expected sections of {first} and {second} under different names, found {', '.join(twice)} in both; rename them in "
            "one of the two cards."
        )

    def read(info: SectionInfo) -> Section:
        return (training if info.id in own else tested).reader(info)

    return Dataset(
        card=training.card.model_copy(update={"simulated": training.card.simulated or tested.card.simulated}),
        sections=tuple(sorted((*training.sections, *tested.sections), key=lambda info: info.id)),
        reader=read,
        notes=(*training.notes, *tested.notes),
        versions={**tested.versions, **training.versions},
        tested=tested,
    )


def training_part(dataset: Dataset) -> Dataset:
    """What of a dataset methods learn from: of a joined one the first, else all of it."""
    if dataset.tested is None:
        return dataset
    others = {info.id for info in dataset.tested.sections}
    return replace(dataset, sections=tuple(info for info in dataset.sections if info.id not in others), tested=None)


def held_out(training: dict[str, str], tested: dict[str, str], name: str) -> HeldOut:
    """The one group of a transfer: the tested patients, and the last training patient, where there are three, to choose on.

    Args:
        training: patient of each section to learn from.
        tested: patient of each section to be tested on.
        name: of the tested dataset.
    """
    last = last_of_three(training.values())
    return HeldOut(name=name, test=tuple(sorted(set(tested.values()))), validation=None if last is None else (last,))

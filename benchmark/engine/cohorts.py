"""The sides of a fold as methods see them: measured cohorts to learn from, sealed sections to predict."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort, MeasuredSection, SealedSection
from ...datasets.folds import Part
from ...datasets.panel import GenePanel
from ...datasets.registry import Dataset
from ...datasets.section import Section
from ...datasets.target import TargetName, target_values
from .inputs import PreparedInputs


def open_cohort(
    dataset: Dataset,
    parts: tuple[Part, ...],
    panel: GenePanel,
    target: TargetName,
    inputs: PreparedInputs,
) -> Cohort:
    """The measured sections of one side of a fold; their targets are parts of one array."""
    read: deque[tuple[SealedSection, NDArray[np.float32], NDArray[np.int64]]] = deque()
    for part in parts:
        section = dataset.load(part.section)
        view = seal(section, part, panel.genes, inputs)
        rows = slice(None) if view.rows is None else view.rows
        read.append((view, target_values(section, panel.genes, target)[rows], section.library_size[rows]))
    joint = np.empty((sum(view.n_spots for view, _, _ in read), len(panel.genes)), dtype=np.float32)
    sections, start = [], 0
    while read:  # each section's own array goes once it is copied
        view, values, depth = read.popleft()
        own = joint[start : start + view.n_spots]
        own[:] = values
        start += view.n_spots
        known = {name: getattr(view, name) for name in SealedSection.__dataclass_fields__}
        sections.append(MeasuredSection(**known, target=own, library_size=depth, target_name=target))
    return Cohort(tuple(sections), panel.genes)


def seal(section: Section, part: Part, genes: tuple[str, ...], inputs: PreparedInputs) -> SealedSection:
    """What may be seen of a section whose expression is to be predicted: nothing of its counts, no other section's inputs."""
    rows = part.rows(section.array_xy)

    def take(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else np.array(values if rows is None else values[rows])

    kept = range(section.n_spots) if rows is None else rows.tolist()
    array_xy = take(section.array_xy)
    assert array_xy is not None
    return SealedSection(
        id=section.id,
        patient=section.patient,
        genes=genes,
        spots=tuple(section.spots[i] for i in kept),
        array_xy=array_xy,
        pixel_xy=take(section.pixel_xy),
        microns_per_pixel=section.microns_per_pixel,
        labels=None if section.labels is None else tuple(section.labels[i] for i in kept),
        store=inputs.only(section.id),
        rows=rows,
    )

"""The statistics of a table's rows: against the reference, among each other, and against the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .encoder_axis import axis_of, encoders_of
from .row import RANKED_BY, Row
from .statistics import bootstrap, max_t, tie_groups, too_few

REFERENCE = "ridge"
CONTROLS = ("ridge", "colour", "context", "untrained")


@dataclass(frozen=True)
class Finding:
    """What is known of one row; everything but the differences is None where the patients are too few.

    Attributes:
        interval: 95 % of the row's mean.
        rank_interval: 95 % of its rank among the family.
        reference: title of the row that it is compared with.
        difference: mean paired difference to the reference.
        difference_by_patient: its parts.
        difference_interval: 95 %.
        p: unadjusted.
        p_adjusted: max-T over the family.
        tie_group: 1 the best; members are not told apart from their group's leader.
    """

    interval: tuple[float, float] | None = None
    rank_interval: tuple[int, int] | None = None
    reference: str | None = None
    difference: float | None = None
    difference_by_patient: Mapping[str, float] = field(default_factory=dict)
    difference_interval: tuple[float, float] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    tie_group: int | None = None


@dataclass(frozen=True)
class Analysis:
    """Statistics of one figure over the complete rows that are no oracle; `findings` by row key.

    `reference` is the title of the row that all others are compared with; where it has namesakes on other encoders, its
    label: then each row is compared with the one on its own encoder. `sentence` says that the patients are too few, else
    that the reference is missing; "" where nothing is in the way.
    """

    figure: str
    reference: str | None
    patients: tuple[str, ...]
    sentence: str
    findings: Mapping[str, Finding]

    def of(self, row: Row) -> Finding:
        """The finding of a row; an empty one for a row that was not compared (an oracle, failed cells)."""
        return self.findings.get(row.key, Finding())


def analyse(rows: Sequence[Row], reference: str = REFERENCE, figure: str = RANKED_BY) -> Analysis:
    """Compare the rows of one table with the one called `reference`.

    A title (a label with its variant) is one row. A label whose rows stand on several encoders is for each row the one on its
    own; a row without such a one is compared with none. The tests of all rows are one family, whichever their reference.
    """
    family = [row for row in rows if row.complete and row.kind != "oracle" and row.by_patient.get(figure)]
    patients = tuple(sorted({name for row in family for name in row.by_patient[figure]}))
    # A row without a value of every patient cannot be paired with the others.
    family = [row for row in family if all(name in row.by_patient[figure] for name in patients)]
    better_is_larger = not figure.startswith("mse")
    against = _references(family, reference)
    few = too_few(len(patients)) if patients else ""
    missing = (
        ""
        if any(at is not None for at in against) or not family
        else f"no complete row '{reference}' to compare with (--reference names another)"
    )
    values = np.array([[row.by_patient[figure][name] for name in patients] for row in family])
    findings = _findings(
        family, values, patients, against, better_is_larger=better_is_larger, enough=bool(patients) and not few
    )
    return Analysis(
        figure=figure,
        reference=_named(family, against, reference),
        patients=patients,
        sentence=few or missing,
        findings=findings,
    )


def _references(family: Sequence[Row], reference: str) -> list[int | None]:
    """Of each row the place of the one that it is compared with."""
    exact = next((i for i, row in enumerate(family) if reference in (row.title, row.key)), None)
    if exact is not None:
        return [exact] * len(family)
    on: dict[str | None, int] = {}  # by encoder the best ranked row of that label
    for i, row in enumerate(family):
        if row.method == reference:
            on.setdefault(axis_of(row), i)
    if len(on) < 2:
        return [next(iter(on.values()), None)] * len(family)
    return [on.get(axis_of(row)) for row in family]


def _named(family: Sequence[Row], against: Sequence[int | None], reference: str) -> str | None:
    used = {at for at in against if at is not None}
    return reference if len(used) > 1 else next((family[at].title for at in used), None)


def _findings(
    family: Sequence[Row],
    values: np.ndarray,
    patients: Sequence[str],
    against: Sequence[int | None],
    *,
    better_is_larger: bool,
    enough: bool,
) -> dict[str, Finding]:
    if not family:
        return {}
    own_row = np.arange(len(family))
    base = np.array([i if at is None else at for i, at in enumerate(against)], dtype=np.intp)
    tested = base != own_row
    differences = values - values[base]
    sampled = bootstrap(values, base, better_is_larger) if enough else None
    groups = tie_groups(values, better_is_larger) if enough else [None] * len(family)
    own, adjusted = np.full((2, len(family)), np.nan)
    if enough:
        own[tested], adjusted[tested] = max_t(differences[tested])
    out = {}
    for i, row in enumerate(family):
        found = Finding(tie_group=groups[i])
        if sampled is not None:
            found = replace(found, interval=_ends(sampled.mean[i]), rank_interval=tuple(sampled.rank[i].tolist()))
        if tested[i]:
            found = replace(
                found,
                reference=family[base[i]].title,
                difference=float(differences[i].mean()),
                difference_by_patient=dict(zip(patients, differences[i].tolist(), strict=True)),
                difference_interval=None
                if sampled is None or sampled.difference is None
                else _ends(sampled.difference[i]),
                p=float(own[i]) if enough else None,
                p_adjusted=float(adjusted[i]) if enough else None,
            )
        out[row.key] = found
    return out


def _ends(interval: np.ndarray) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])


def best_control(rows: Sequence[Row]) -> Row | None:
    """The complete row of ridge, colour, context and untrained with the best pcc_hvg; None without any of them."""
    return max(_controls(rows), key=lambda row: row.figure(RANKED_BY).mean or 0.0, default=None)


def control_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The best control that a row is held against: where controls stand on several encoders, of those on its own or on none."""
    controls = _controls(rows)
    axis, encoders = axis_of(row), encoders_of(controls)
    if len(encoders) > 1 and axis in encoders:
        controls = [control for control in controls if axis_of(control) in (None, axis)]
    return best_control(controls)


def _controls(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.name in CONTROLS and row.complete and row.figure(RANKED_BY).mean is not None]


def beats_controls(row: Row, rows: Sequence[Row]) -> bool | None:
    """Whether a method's pcc_hvg is above the best control's; None for controls, oracles and without any control."""
    mean = row.figure(RANKED_BY).mean
    judged = row.complete and row.kind in ("method", "external") and row.name not in CONTROLS
    best = control_of(row, rows) if judged else None
    return None if best is None or mean is None else mean > (best.figure(RANKED_BY).mean or 0.0)


def remark(row: Row, rows: Sequence[Row]) -> str:
    """What a reader must know beside the figures: failures, an oracle, a term without effect, a method below a control."""
    said = [row.status, *row.findings]
    if not row.status and beats_controls(row, rows) is False and (best := control_of(row, rows)) is not None:
        said.append(f"not better than {best.title}")
    return "; ".join(text for text in said if text)

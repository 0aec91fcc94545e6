"""The statistics of a table's rows: against the reference, among each other, and against the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

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
        difference: mean paired difference to the reference.
        difference_by_patient: its parts.
        difference_interval: 95 %.
        p: unadjusted.
        p_adjusted: max-T over the family.
        tie_group: 1 the best; members are not told apart from their group's leader.
    """

    interval: tuple[float, float] | None = None
    rank_interval: tuple[int, int] | None = None
    difference: float | None = None
    difference_by_patient: Mapping[str, float] = field(default_factory=dict)
    difference_interval: tuple[float, float] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    tie_group: int | None = None


@dataclass(frozen=True)
class Analysis:
    """Statistics of one figure over the complete rows that are no oracle; `findings` by row key.

    `sentence` says that the patients are too few, else that the reference is missing; "" where nothing is in the way.
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
    """Compare every row of one table with the one called `reference` (a label, or a label with its variant)."""
    family = [row for row in rows if row.complete and row.kind != "oracle" and row.by_patient.get(figure)]
    patients = tuple(sorted({name for row in family for name in row.by_patient[figure]}))
    # A row without a value of every patient cannot be paired with the others.
    family = [row for row in family if all(name in row.by_patient[figure] for name in patients)]
    better_is_larger = not figure.startswith("mse")
    at = next((i for i, row in enumerate(family) if reference in (row.title, row.key)), None)
    if at is None:
        at = next((i for i, row in enumerate(family) if row.method == reference), None)
    few = too_few(len(patients)) if patients else ""
    missing = (
        ""
        if at is not None or not family
        else f"no complete row '{reference}' to compare with (--reference names another)"
    )
    values = np.array([[row.by_patient[figure][name] for name in patients] for row in family])
    findings = _findings(
        family, values, patients, at, better_is_larger=better_is_larger, enough=bool(patients) and not few
    )
    return Analysis(
        figure=figure,
        reference=None if at is None else family[at].title,
        patients=patients,
        sentence=few or missing,
        findings=findings,
    )


def _findings(
    family: Sequence[Row],
    values: np.ndarray,
    patients: Sequence[str],
    at: int | None,
    *,
    better_is_larger: bool,
    enough: bool,
) -> dict[str, Finding]:
    if not family:
        return {}
    differences = None if at is None else values - values[at]
    sampled = bootstrap(values, at, better_is_larger) if enough else None
    groups = tie_groups(values, better_is_larger) if enough else [None] * len(family)
    own, adjusted = np.full(len(family), np.nan), np.full(len(family), np.nan)
    if differences is not None and enough:
        tested = np.arange(len(family)) != at
        own[tested], adjusted[tested] = max_t(differences[tested])
    out = {}
    for i, row in enumerate(family):
        compared = differences is not None and i != at
        out[row.key] = Finding(
            interval=None if sampled is None else (float(sampled.mean[i, 0]), float(sampled.mean[i, 1])),
            rank_interval=None if sampled is None else (int(sampled.rank[i, 0]), int(sampled.rank[i, 1])),
            difference=float(differences[i].mean()) if differences is not None and compared else None,
            difference_by_patient=dict(zip(patients, differences[i].tolist(), strict=True))
            if differences is not None and compared
            else {},
            difference_interval=(float(sampled.difference[i, 0]), float(sampled.difference[i, 1]))
            if sampled is not None and sampled.difference is not None and compared
            else None,
            p=None if np.isnan(own[i]) else float(own[i]),
            p_adjusted=None if np.isnan(adjusted[i]) else float(adjusted[i]),
            tie_group=groups[i],
        )
    return out


def best_control(rows: Sequence[Row]) -> Row | None:
    """The complete row of ridge, colour, context and untrained with the best pcc_hvg; None without any of them."""
    present = [row for row in rows if row.complete and row.name in CONTROLS and row.figure(RANKED_BY).mean is not None]
    return max(present, key=lambda row: row.figure(RANKED_BY).mean or 0.0, default=None)


def beats_controls(row: Row, rows: Sequence[Row]) -> bool | None:
    """Whether a method's pcc_hvg is above the best control's; None for controls, oracles and without any control."""
    best, mean = best_control(rows), row.figure(RANKED_BY).mean
    judged = row.complete and row.kind in ("method", "external") and row.name not in CONTROLS
    if best is None or mean is None or not judged:
        return None
    return mean > (best.figure(RANKED_BY).mean or 0.0)


def remark(row: Row, rows: Sequence[Row]) -> str:
    """What a reader must know beside the figures: failures, an oracle, a term without effect, a method below a control."""
    best = best_control(rows)
    said = [row.status, *row.findings]
    if not row.status and best is not None and beats_controls(row, rows) is False:
        said.append(f"not better than {best.title}")
    return "; ".join(text for text in said if text)

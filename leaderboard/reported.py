"""Figures that papers report, kept apart from measured ones, and what our patients say of their direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from ..errors import ConfigurationError
from .table import Row, Table

_FOLDER = Path(__file__).resolve().parent.parent / "configs" / "reported"
FIGURES = ("pcc_mg", "pcc_hvg", "pcc_heg", "mse")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReportedRow(_Part):
    """A line of a paper's table; each figure is (value, what stands behind ±), `method` the label of ours that it is."""

    label: str
    method: str
    size_mb: float | None = None
    pcc_mg: tuple[float, float] | None = None
    pcc_hvg: tuple[float, float] | None = None
    pcc_heg: tuple[float, float] | None = None
    mse: tuple[float, float] | None = None


class Claim(_Part):
    """That one method is better than another on some figures, as the paper's table has it."""

    better: str
    than: str
    figures: tuple[str, ...]


class Reported(_Part):
    """A table of a paper, with its source and all that is known of its protocol."""

    name: str
    title: str
    source: str
    url: str
    dataset: str
    target: str
    protocol: str
    spread: str
    rows: tuple[ReportedRow, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Verdict:
    """A claim held against measured patients: its direction only, for the paper's folds are unstated.

    `gap` is how much better the claimed one is (so positive agrees, for errors too), or None where it is not measured;
    `agree` of `patients` show the claimed direction.
    """

    claim: Claim
    figure: str
    gap: float | None
    agree: int
    patients: int

    @property
    def text(self) -> str:
        said = f"{self.claim.better} better than {self.claim.than} on {self.figure}"
        if self.gap is None:
            return f"{said}: not measured here"
        n = f"{self.patients} patient{'' if self.patients == 1 else 's'}"
        direction = "same direction" if self.gap > 0 else "opposite direction" if self.gap < 0 else "no difference"
        return f"{said}: {direction} on {n} (mean gap {self.gap:+.3f}, {self.agree} of {self.patients} agree)"


def read_reported(folder: Path = _FOLDER) -> list[Reported]:
    """All reported tables, by name.

    Raises:
        ConfigurationError: a file that is no reported table.
    """
    out = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            out.append(Reported.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
        except ValueError as error:
            raise ConfigurationError(
                f"Expected a reported table in {path.name}, but {error}; mend the file."
            ) from error
    return out


def fitting(table: Table, reported: Sequence[Reported]) -> list[Reported]:
    """The reported tables that may stand beside a measured one: same dataset and target, folds that do not leak."""
    protocol = table.protocol
    if protocol.leaky or protocol.simulated:
        return []
    return [r for r in reported if (r.dataset, r.target) == (protocol.dataset, protocol.target)]


def verdicts(table: Table, reported: Reported) -> list[Verdict]:
    """Each claim of a reported table held against the complete rows of a measured one."""
    return [
        _verdict(claim, figure, _complete(table, claim.better), _complete(table, claim.than))
        for claim in reported.claims
        for figure in claim.figures
    ]


def _complete(table: Table, label: str) -> Row | None:
    return next((row for row in table.rows if row.method == label and row.complete), None)


def _verdict(claim: Claim, figure: str, better: Row | None, than: Row | None) -> Verdict:
    if better is None or than is None:
        return Verdict(claim, figure, None, 0, 0)
    first, second = better.by_patient.get(figure, {}), than.by_patient.get(figure, {})
    sign = -1 if figure.startswith("mse") else 1
    gaps = [sign * (first[patient] - second[patient]) for patient in first.keys() & second.keys()]
    mean = sum(gaps) / len(gaps) if gaps else None
    return Verdict(claim, figure, mean, sum(gap > 0 for gap in gaps), len(gaps))

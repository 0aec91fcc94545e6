"""Figures that papers report, kept apart from measured ones, and what our patients say of their direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from ..yaml_files import read_model
from .columns import ABSENT, number
from .row import Row
from .table import Table

_FOLDER = Path(__file__).resolve().parent.parent / "configs" / "reported"
FIGURES = ("pcc_mg", "pcc_hvg", "pcc_heg", "mse")  # of QCA's tables
NAMES = {
    "hest": "HEST",
    "pcc_mg": "PCC MG",
    "pcc_hvg": "PCC HVG",
    "pcc_heg": "PCC HEG",
    "pcc_all": "PCC all",
    "mse": "MSE",
}
Value = tuple[float, float | None]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReportedRow(_Part):
    """A line of a paper's table; each figure is (value, what stands behind ± or None), `method` the label of ours it is.

    Of a benchmark of several tasks, `hest_by_task` holds the figures in the order of the table's `tasks`, `hest_mean` their mean
    as printed.
    """

    label: str
    method: str
    size_mb: float | None = None
    pcc_mg: Value | None = None
    pcc_hvg: Value | None = None
    pcc_heg: Value | None = None
    pcc_all: Value | None = None
    mse: Value | None = None
    hest: Value | None = None
    hest_by_task: tuple[float, ...] = ()
    hest_mean: float | None = None


class Claim(_Part):
    """That one method is better than another on some figures, as the paper's table has it."""

    better: str
    than: str
    figures: tuple[str, ...]


class Reported(_Part):
    """A table of a paper, with its source and all that is known of its protocol.

    `dataset` and `target` are ours by name where they are the same, else words; `beside` names datasets of ours beside
    whose tables it is shown all the same. `sure` says how the figures came here; `statements` are what is no column. Of a
    benchmark, `under` is our protocol of the same name and `tasks` are its datasets here, see `on`.
    """

    name: str
    title: str
    source: str
    url: str
    dataset: str
    target: str
    protocol: str
    genes: str
    metric: str
    spread: str
    sure: str
    rows: tuple[ReportedRow, ...]
    beside: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    under: str | None = None
    tasks: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Reported:
        if any(len(row.hest_by_task) != len(self.tasks) for row in self.rows):
            raise ValueError(f"Expected a figure for each of the {len(self.tasks)} tasks in every row.")
        return self

    def on(self, dataset: str) -> Reported:
        """The same with the figures of one of its tasks, where the dataset is one."""
        if dataset not in self.tasks:
            return self
        at = self.tasks.index(dataset)
        rows = tuple(row.model_copy(update={"hest": (row.hest_by_task[at], None)}) for row in self.rows)
        return self.model_copy(update={"dataset": dataset, "rows": rows})

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns that any row has."""
        return tuple(name for name in NAMES if any(getattr(row, name) is not None for row in self.rows))

    @property
    def origin(self) -> str:
        """Where the figures are from and how they were made, in one line."""
        parts = (f"{self.source}, {self.url}", self.protocol, self.genes, self.metric, self.spread, self.sure)
        return "; ".join(parts)


@dataclass(frozen=True)
class Verdict:
    """A claim held against measured patients: its direction only, for the paper's folds are unstated.

    `gap` is how much better the claimed one is (so positive agrees, for errors too), or None where it is not measured;
    `agree` of `patients` show the claimed direction, `gaps` are theirs one by one.
    """

    claim: Claim
    figure: str
    gap: float | None
    agree: int
    patients: int
    gaps: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def text(self) -> str:
        """The claim and its direction here in one sentence, with how many patients agree."""
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
        out.append(read_model(path, Reported, "a reported table", "configs/reported"))
    return out


def fitting(table: Table, reported: Sequence[Reported]) -> list[Reported]:
    """The reported tables that stand beside a measured one; none beside one that leaks.

    Those of the same dataset and target come first, then those of other protocols, which name what is other (`heading`).
    """
    protocol = table.protocol
    if protocol.leaky or protocol.simulated or protocol.test_dataset is not None:
        return []
    # One with a target of ours belongs to that target's tables alone; a paper's own target stands beside both.
    shown = [
        r
        for r in (each.on(protocol.dataset) for each in reported)
        if protocol.dataset in (r.dataset, *r.beside) and r.target not in {"counts", "proportion"} - {protocol.target}
    ]
    return sorted(shown, key=lambda r: bool(differences(table, r)))


def differences(table: Table, reported: Reported) -> list[str]:
    """What is known to be other than in a measured table: the dataset, the target, the protocol of a benchmark."""
    ours = table.protocol
    pairs = [("dataset", reported.dataset, ours.dataset), ("target", reported.target, ours.target)]
    pairs += [("protocol", reported.under, ours.name)] if reported.under else []
    return [f"{name}: {theirs}" for name, theirs, own in pairs if theirs != own]


def heading(table: Table, reported: Reported) -> str:
    """The title of a reported table beside a measured one, with the words that keep the two apart."""
    other = differences(table, reported)
    kind = "Reported, other protocol" if other else "Reported, not measured"
    return f"{kind}: {reported.title}" + (f" ({'; '.join(other)})" if other else "")


def printed(value: Value | None) -> str:
    """A reported figure: three decimals, and what stands behind ± if the paper gives it."""
    if value is None:
        return ABSENT
    return number(value[0]) + (f" ± {number(value[1])}" if value[1] is not None else "")


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
    gaps = {patient: sign * (first[patient] - second[patient]) for patient in sorted(first.keys() & second.keys())}
    mean = sum(gaps.values()) / len(gaps) if gaps else None
    return Verdict(claim, figure, mean, sum(gap > 0 for gap in gaps.values()), len(gaps), gaps)

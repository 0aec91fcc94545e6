"""What a row of a leaderboard holds: one method with its settings, its figures, and the records behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .record import Record

HEADLINE = ("pcc_mg", "pcc_hvg", "pcc_heg", "pcc_all", "mse")
RANKED_BY = "pcc_hvg"
WITHOUT_EFFECT = "alignment without effect"  # how the warning of such a fit begins
# Figures that every row names, null where the records lack them (a proportion target is never rounded).
STANDARD = tuple(f"{name}{suffix}" for suffix in ("", "_unrounded", "_pooled") for name in HEADLINE)


@dataclass(frozen=True)
class Figure:
    """A mean over genes, a patient's sections, then patients; the two spreads are null below two.

    Attributes:
        mean: seeds averaged.
        sd_patients: standard deviation (n - 1) over patients, seeds averaged.
        sd_seeds: standard deviation (n - 1) over seeds, patients averaged; seeds that lack a patient are left out.
    """

    mean: float | None = None
    sd_patients: float | None = None
    sd_seeds: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """The figure as `--json` prints it; null where it is not defined."""
        return {"mean": self.mean, "sd_patients": self.sd_patients, "sd_seeds": self.sd_seeds}


@dataclass(frozen=True)
class Row:
    """One method with one set of settings; its cells differ in fold and seed only.

    Attributes:
        key: hash of the settings, stable between calls.
        variant: what tells this row from others of the same label, "" where the label is enough.
        line: the label with what tells it from others beside the encoder: rows of one line differ in the encoder alone.
        rank: by pcc_hvg; rows that print alike (three decimals) share one. None: oracle, failed, incomplete, no figure.
        folds: names of the folds done.
        folds_due: number of folds that the protocol's rows have together.
        n_patients, n_folds: that the figures average.
        failed: number of failed cells; then every figure is null.
        cells_due: folds_due times seeds; a row with fewer done is incomplete and not ranked.
        undefined_truth, undefined_prediction: section-gene pairs whose PCC is counted 0, seeds averaged.
        fit_seconds: mean of a cell.
        peak_memory_mb: largest of a cell.
        n_parameters: largest of a cell.
        by_patient: figure -> patient -> value, seeds averaged.
        by_section: figure -> section -> value, seeds averaged.
        patients: patient of each of those sections.
        cells: identities of the done cells.
        records: every record behind the row, failed ones too.
    """

    key: str
    method: str
    name: str
    kind: str
    variant: str
    line: str
    profile: str
    encoder: str | None
    settings: Mapping[str, Any]
    rank: int | None
    folds: tuple[str, ...]
    folds_due: int
    cells_due: int
    n_patients: int
    n_folds: int
    n_seeds: int
    failed: int
    n_parameters: int
    fit_seconds: float
    peak_memory_mb: float
    undefined_truth: float | None
    undefined_prediction: float | None
    sd_ratio: float | None
    figures: Mapping[str, Figure]
    by_patient: Mapping[str, Mapping[str, float]] = field(repr=False)
    by_section: Mapping[str, Mapping[str, float]] = field(repr=False)
    patients: Mapping[str, str] = field(repr=False)
    cells: tuple[str, ...] = field(repr=False)
    records: tuple[Record, ...] = field(repr=False)

    def numbers(self) -> dict[str, Any]:
        """What is counted, timed and measured of the row beside its figures, by name, JSON-able."""
        names = ("n_patients", "n_folds", "n_seeds", "failed", "complete", "n_parameters", "size_mb", "fit_seconds")
        more = ("peak_memory_mb", "undefined_truth", "undefined_prediction", "sd_ratio")
        return {name: getattr(self, name) for name in (*names, *more)}

    @property
    def size_mb(self) -> float:
        """Of the weights as fp32, in units of 10^6 bytes, the way papers print it."""
        return self.n_parameters * 4 / 1e6

    @property
    def complete(self) -> bool:
        """Whether every cell that the run planned is there and none failed."""
        return not self.failed and len(self.cells) == self.cells_due

    @property
    def random_weights(self) -> bool:
        """Whether its image encoder was never trained."""
        encoder = self.records[0].encoder
        return encoder is not None and encoder.weights == "random"

    @property
    def title(self) -> str:
        """The label, with what tells it from its namesakes."""
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def status(self) -> str:
        """What a reader must know before the figures: failures, missing folds, that an oracle sees test counts."""
        if self.failed:
            return f"{self.failed} of {self.cells_due} cells failed"
        if not self.complete:
            folds, cells = (
                f"{len(self.folds)} of {self.folds_due} folds",
                f"{len(self.cells)} of {self.cells_due} cells",
            )
            return f"incomplete: {folds}, {cells}"
        return {"oracle": "oracle: sees test counts", "external": "external: predicted elsewhere"}.get(self.kind, "")

    @property
    def findings(self) -> list[str]:
        """Findings of fits that belong beside the figures, with the cells that they concern."""
        cells = sum(any(warning.startswith(WITHOUT_EFFECT) for warning in record.warnings) for record in self.records)
        return [f"{WITHOUT_EFFECT} in {cells} of {len(self.records)} cells"] if cells else []

    def figure(self, name: str) -> Figure:
        """A figure by its column's name; an empty one where the row has no such figure."""
        return self.figures.get(name, Figure())

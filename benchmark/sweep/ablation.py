"""`qbench ablate`: the ablations of a method's paper measured here, beside the paper's figures, with a verdict per claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ...errors import unknown
from ...files import write_text
from ...leaderboard.columns import number
from ...leaderboard.export import tables_json
from ...leaderboard.folder import with_ceilings
from ...leaderboard.record import Record
from ...leaderboard.reported import FIGURES, Claim, Reported, ReportedRow, Verdict, printed, read_reported, verdicts
from ...leaderboard.row import Row
from ...leaderboard.statistics import too_few
from ...leaderboard.summarise import summarise
from ...leaderboard.table import Table
from ...methods.registry import parse, spec
from ...yaml_files import read_model
from ..engine.plan import make_plan
from ..engine.reporter import Reporter
from ..engine.run import execute
from ..settings import RunSettings

_FOLDER = resources.files("qbench.configs").joinpath("sweeps")
_ENDING = "_ablation.yaml"
_HEADERS = {"pcc_mg": "PCC MG", "pcc_hvg": "PCC HVG", "pcc_heg": "PCC HEG", "mse": "MSE"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reading(_Part):
    """Settings under which a paper's table is measured; rows with the parameters of `unless` stay as they are."""

    name: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    unless: dict[str, Any] = Field(default_factory=dict)


class AblatedTable(_Part):
    """A reported table by name, rows that the paper lacks, and the readings to measure it under."""

    table: str
    also: tuple[ReportedRow, ...] = ()
    readings: tuple[Reading, ...] = (Reading(),)


class Ablation(_Part):
    """The file `configs/sweeps/<method>_ablation.yaml`."""

    method: str
    tables: tuple[AblatedTable, ...]


@dataclass(frozen=True)
class Block:
    """A paper's table under one reading: its rows by the labels of ours, measured or not, and the verdicts."""

    reported: Reported
    reading: Reading
    measured: Mapping[str, Row]
    verdicts: tuple[Verdict, ...]

    @property
    def title(self) -> str:
        """The paper's table, and in brackets the reading that it is measured under, if it has several."""
        return f"{self.reported.title} ({self.reading.name})" if self.reading.name else self.reported.title


@dataclass(frozen=True)
class Ablated:
    """What an ablation gives: the leaderboard of all its rows, and a block for each table and reading."""

    folder: Path
    table: Table
    blocks: tuple[Block, ...]
    records: tuple[Record, ...]


def find_ablation(method: str) -> Ablation | None:
    """The ablation that comes with a method, None where there is none.

    Raises:
        ConfigurationError: its file is no ablation.
    """
    path = _FOLDER.joinpath(f"{method}{_ENDING}")
    return read_model(path, Ablation, "an ablation", "docs/sweeps.md") if path.is_file() else None


def read_ablation(method: str) -> Ablation:
    """The ablation that comes with a method.

    Raises:
        ConfigurationError: there is none, or its file is none.
    """
    found = find_ablation(method)
    if found is None:
        names = [path.name for path in _FOLDER.iterdir()]
        raise unknown("ablation", method, [name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)])
    return found


def reported_tables(ablation: Ablation) -> list[tuple[AblatedTable, Reported]]:
    """The tables of an ablation with what their paper reports.

    Raises:
        ConfigurationError: a reported table that is not there.
    """
    known = {reported.name: reported for reported in read_reported()}
    for part in ablation.tables:
        if part.table not in known:
            raise unknown("reported table", part.table, known)
    return [(part, known[part.table]) for part in ablation.tables]


def read_as(label: str, reading: Reading, profile: str) -> str:
    """The label of a paper's row under a reading; what the row itself sets stays as it is."""
    own = parse(label, profile)
    values = own.parameters.model_dump(mode="json")
    if reading.unless and all(values.get(name) == value for name, value in reading.unless.items()):
        return own.label
    return spec(own.name, {**reading.settings, **own.settings}, profile).label


def reported_as(table: Reported, reading: Reading, also: tuple[ReportedRow, ...], profile: str) -> Reported:
    """A reported table with the labels of one reading, and rows that the paper lacks at its end."""

    def label(text: str) -> str:
        return read_as(text, reading, profile)

    rows = tuple(row.model_copy(update={"method": label(row.method)}) for row in (*table.rows, *also))
    claims = tuple(Claim(better=label(c.better), than=label(c.than), figures=c.figures) for c in table.claims)
    return table.model_copy(update={"rows": rows, "claims": claims})


def run_ablation(method: str, options: RunSettings, reporter: Reporter) -> Ablated:
    """Run every row of the method's ablation through ordinary cells, and hold the paper's claims against them.

    Raises:
        ConfigurationError: no ablation for this method, or a reported table that is not there.
    """
    ablation = read_ablation(method)
    wanted = [
        (reported_as(reported, reading, part.also, options.profile), reading)
        for part, reported in reported_tables(ablation)
        for reading in part.readings
    ]
    labels = tuple(dict.fromkeys(row.method for reported, _ in wanted for row in reported.rows))
    plan = make_plan(options.model_copy(update={"methods": labels, "encoders": ()}))
    records = execute(plan, reporter)
    (table,) = with_ceilings(summarise(records, reference=method), plan.folders)
    rows = {row.method: row for row in table.rows}
    blocks = tuple(
        Block(reported, reading, {r.method: rows[r.method] for r in reported.rows}, tuple(verdicts(table, reported)))
        for reported, reading in wanted
    )
    done = Ablated(options.out / "ablations" / f"{method}-{plan.protocol.folder}", table, blocks, tuple(records))
    write_text(done.folder / "ablation.md", as_markdown(done))
    write_text(done.folder / "ablation.json", json.dumps(as_dict(done), indent=1))
    return done


def note(table: Table) -> str:
    """What the verdicts are worth: whether the paper's numbers could be held against ours, and how many patients spoke."""
    told = "Verdicts speak of direction only: the paper's folds are unstated, so its numbers cannot be compared with these."
    if table.protocol.simulated:
        told = "These figures are of simulated data; they say nothing about the paper's. " + told
    few = too_few(max((row.n_patients for row in table.rows), default=0))
    return f"{told} {few}." if few else told


def measured(row: Row, figure: str) -> str:
    """Mean over patients, and in brackets the spread over patients and over seeds."""
    found = row.figure(figure)
    return f"{number(found.mean)} ({number(found.sd_patients)}; {number(found.sd_seeds)})"


def as_markdown(done: Ablated) -> str:
    """The content of ablation.md."""
    parts = [f"# Ablation: {done.table.title}\n", note(done.table) + "\n"]
    for block in done.blocks:
        parts.append(f"## {block.title}\n")
        parts.append(f"Paper: {block.reported.origin}.\n")
        parts.append("| row | method | " + " | ".join(f"{h} here | {h} paper" for h in _HEADERS.values()) + " |")
        parts.append("|---|---|" + "---:|" * (2 * len(FIGURES)))
        for row in block.reported.rows:
            cells = [
                text for f in FIGURES for text in (measured(block.measured[row.method], f), printed(getattr(row, f)))
            ]
            parts.append(f"| {row.label} | `{row.method}` | " + " | ".join(cells) + " |")
        parts += ["", *(f"* {verdict.text}" for verdict in block.verdicts), ""]
    parts.append(
        "Here: mean over genes, a patient's sections, patients; in brackets the standard deviation over patients and over seeds."
    )
    return "\n".join(parts) + "\n"


def as_dict(done: Ablated) -> dict[str, Any]:
    """The content of ablation.json, and of --json."""
    return {
        "schema": 1,
        "note": note(done.table),
        "blocks": [
            {
                "table": block.reported.name,
                "title": block.title,
                "rows": [
                    {
                        "label": row.label,
                        "method": row.method,
                        "measured": {f: block.measured[row.method].figure(f).as_dict() for f in FIGURES},
                        "reported": {f: getattr(row, f) for f in FIGURES},
                    }
                    for row in block.reported.rows
                ],
                "verdicts": [
                    {
                        "better": v.claim.better,
                        "than": v.claim.than,
                        "figure": v.figure,
                        "gap": v.gap,
                        "agree": v.agree,
                        "patients": v.patients,
                        "text": v.text,
                    }
                    for v in block.verdicts
                ],
            }
            for block in done.blocks
        ],
        "leaderboard": tables_json([done.table]),
    }

"""What a search of readings leaves to read: readings.md, readings.json, and its picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...files import write_text
from ...leaderboard.columns import number
from ...leaderboard.export import tables_json
from ...leaderboard.figures.canvas import save
from ...leaderboard.figures.readings import draw_readings
from ...leaderboard.figures.squares import Square
from ...leaderboard.markdown import tables_markdown
from ..engine.store import unwritable
from .ablation import note
from .readings_run import Judged, Measured


@dataclass(frozen=True)
class ClaimCount:
    """A claim of the paper over the combinations under which it was measured.

    `held` of `measured` show its direction on average over patients; `patients` has for each patient in how many.
    """

    table: str
    text: str
    held: int
    measured: int
    patients: Mapping[str, int]


def write_readings(measured: Measured) -> None:
    """Write readings.md, readings.json, readings.png and readings.svg into the folder of the search.

    Raises:
        QbenchError: the folder cannot be written.
    """
    try:
        write_text(measured.folder / "readings.json", json.dumps(as_dict(measured), indent=1))
        write_text(measured.folder / "readings.md", as_markdown(measured))
    except OSError as error:
        raise unwritable(measured.folder, error) from error
    save(draw_readings(effect_cells(measured), claim_cells(measured), title(measured)), measured.folder, "readings")


def title(measured: Measured) -> str:
    """Method, readings judged out of those that there are, and the table's protocol: the heading of every report."""
    table = measured.nested
    return f"{measured.multiverse.base.label}: {len(measured.judged)} of {measured.multiverse.size:,} readings · {table.title}"


def chosen_in_words(measured: Measured) -> str:
    """Which combination validation chooses, and where the default stands."""
    chosen, own = measured.chosen, measured.judged[0]
    return (
        f"Chosen on validation: {chosen.label}, excess {_excess(chosen)}; the default's is {_excess(own)}, "
        f"rank {_ranked(measured).index(own) + 1} of {len(measured.judged)}."
    )


def counts(measured: Measured) -> list[ClaimCount]:
    """How often each claim holds, in the order of the tables."""
    out = []
    first = measured.held[0].by_table if measured.held else {}
    for table, own in first.items():
        for place, verdict in enumerate(own):
            each = [held.by_table[table][place] for held in measured.held]
            known = [v for v in each if v.gap is not None]
            agree = Counter(patient for v in known for patient, gap in v.gaps.items() if gap > 0)
            patients = {patient: agree[patient] for patient in sorted({p for v in known for p in v.gaps})}
            text = f"{verdict.claim.better} better than {verdict.claim.than} on {verdict.figure}"  # of the default
            out.append(ClaimCount(table, text, sum((v.gap or 0) > 0 for v in known), len(known), patients))
    return out


def claim_cells(measured: Measured) -> list[list[Square]]:
    """A row a claim, a column a combination: the share of the patients that agree, and the mean gap as its text."""
    rows = []
    for place, count in enumerate(counts(measured)):
        cells = []
        for held in measured.held:
            verdict = [v for verdicts in held.by_table.values() for v in verdicts][place]
            share = verdict.agree / verdict.patients if verdict.gap is not None else None
            shown = "–" if verdict.gap is None else f"{verdict.gap:+.3f}"
            cells.append(
                Square(f"{count.table.rpartition('-')[2]}: {count.text}", _column(held.role, held.judged), share, shown)
            )
        rows.append(cells)
    return rows


def effect_cells(measured: Measured) -> list[list[Square]]:
    """A row a point, a cell a reading: the median excess of the combinations that have it."""
    rows: dict[str, list[Square]] = {}
    for effect in measured.effects:
        value = "–" if effect.median is None else f"{effect.median:+.4f}"
        shown = f"{effect.reading}{'*' if effect.own else ''}\n{value} (n={effect.n})"
        rows.setdefault(effect.point, []).append(Square(effect.point, effect.reading, effect.median, shown))
    return list(rows.values())


def as_markdown(measured: Measured) -> str:
    """The content of readings.md."""
    select = measured.sweep.options.select.upper()
    parts = [
        f"# Readings: {title(measured)}\n",
        f"Judged by validation {select} alone, each combination trained once a fold with seed {measured.sweep.options.seeds[0]}"
        f"{_epochs(measured)}. Excess: above the best combination of the fold, mean over folds.\n",
        chosen_in_words(measured) + "\n",
        "## Points\n",
        "| point | reading | default | n | failed | median excess | least |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for e in measured.effects:
        star = "yes" if e.own else ""
        parts.append(
            f"| {e.point} | {e.reading} | {star} | {e.n} | {e.failed} | {_four(e.median)} | {_four(e.least)} |"
        )
    parts += [
        "",
        "## Combinations\n",
        "| rank | drawn | excess | differs from the default in |",
        "|---:|---:|---:|---|",
    ]
    for rank, one in enumerate(_ranked(measured), start=1):
        parts.append(f"| {rank} | {one.number} | {_excess(one)} | {_differs(measured, one)} |")
    parts += ["", "## On the test sides\n", "What each fold's own validation side chooses, beside the default:\n"]
    parts.append(tables_markdown([measured.nested]))
    if measured.held:
        parts += ["## The paper's claims\n", note(measured.table or measured.nested) + "\n"]
        parts.append(
            "The chosen reading was chosen over the validation sides of all folds, some of which are test sides of others.\n"
        )
        heads = [_column(held.role, held.judged) for held in measured.held]
        parts.append("| table | claim | holds | by patient | " + " | ".join(heads) + " |")
        parts.append("|---|---|---|---|" + "---:|" * len(heads))
        for count, cells in zip(counts(measured), claim_cells(measured), strict=True):
            patients = ", ".join(f"{patient} {n}" for patient, n in count.patients.items())
            parts.append(
                f"| {count.table} | {count.text} | {count.held} of {count.measured} | {patients} | "
                + " | ".join(f"{cell.shown} ({_share(cell.value)})" for cell in cells)
                + " |"
            )
        parts += [
            "",
            "In a column: mean gap over patients, positive where the claim holds, and the share of patients that agree.",
        ]
    return "\n".join(parts) + "\n"


def as_dict(measured: Measured) -> dict[str, Any]:
    """The content of readings.json, and of --json."""
    tables = [measured.nested, *([measured.table] if measured.table else [])]
    return {
        "schema": 1,
        "method": measured.multiverse.base.label,
        "combinations": measured.multiverse.size,
        "select": measured.sweep.options.select,
        "chosen": measured.chosen.number,
        "judged": [
            {
                "number": one.number,
                "readings": dict(zip((p.point for p in measured.multiverse.points), one.names, strict=True)),
                "method": one.label,
                "validation": dict(one.figures),
                "excess": one.excess,
            }
            for one in measured.judged
        ],
        "effects": [vars(effect) for effect in measured.effects],
        "claims": [{**vars(count), "patients": dict(count.patients)} for count in counts(measured)],
        "held": [
            {
                "number": held.judged.number,
                "role": held.role,
                "method": held.judged.label,
                "verdicts": [
                    {"table": table, "better": v.claim.better, "than": v.claim.than, "figure": v.figure, "gap": v.gap,
                     "agree": v.agree, "patients": v.patients, "gaps": dict(v.gaps)}
                    for table, verdicts in held.by_table.items()
                    for v in verdicts
                ],
            }
            for held in measured.held
        ],
        "leaderboard": tables_json(tables),
    }  # fmt: skip


def _ranked(measured: Measured) -> list[Judged]:
    return sorted(measured.judged, key=lambda one: (one.excess is None, one.excess or 0.0, one.number))


def _differs(measured: Measured, one: Judged) -> str:
    changes = [
        f"{point.point}: {name}"
        for point, name, own in zip(measured.multiverse.points, one.names, measured.multiverse.own, strict=True)
        if name != own
    ]
    return "; ".join(changes) or "nothing"


def _column(role: str, one: Judged) -> str:
    return role if role != "drawn" else f"drawn {one.number}"


def _excess(one: Judged) -> str:
    return "none, as a fold failed" if one.excess is None else f"{one.excess:.4f}"


def _four(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return number(value) if value is None else f"{value:.0%}"


def _epochs(measured: Measured) -> str:
    most = measured.sweep.options.max_epochs
    return "" if most is None else f", at most {most} epochs"

"""Which columns a printed table has, and how a figure is written; shared by every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..names import spreadsheet_cell
from .analysis import remark
from .ceiling import Ceiling
from .downstream import Downstream
from .downstream_columns import in_print
from .encoder_axis import axis_of, grid
from .hest import HEST, has_hest
from .row import RANKED_BY, Row
from .table import Table

ABSENT = "–"
LEGEND = (
    "Figures are means over genes, then a patient's sections, then patients. In brackets: standard deviation over "
    f"patients (seeds averaged); over seeds (patients averaged); {ABSENT} below two. Ranked by PCC HVG; oracles, "
    "incomplete and failed rows are not ranked."
)


@dataclass(frozen=True)
class Column:
    """A header and how a row fills it; `numeric` columns stand to the right."""

    header: str
    text: Callable[[Row], str]
    numeric: bool = True

    def cell(self, row: Row) -> str:
        """The text as a cell of a file, where a name must not begin a formula."""
        return self.text(row) if self.numeric else spreadsheet_cell(self.text(row))


@dataclass(frozen=True)
class Block:
    """Columns that are printed together under one title ("" for the main table), over all rows or some of them."""

    title: str
    columns: tuple[Column, ...]
    some: tuple[Row, ...] | None = None

    def rows(self, table: Table) -> tuple[Row, ...]:
        """The rows that it prints."""
        return table.rows if self.some is None else self.some


def blocks(table: Table, detail: bool = False) -> list[Block]:
    """The main table, and with `detail` one block a question; blocks without any figure are left out."""
    out = [Block("", _main(table))]
    if detail:
        out += [
            Block(title, (METHOD, *(spread(header, name) for header, name in pairs)))
            for title, pairs in _detail(table)
            if any(row.figure(name).mean is not None for row in table.rows for _, name in pairs)
        ]
        if table.ceiling is not None:
            title = "Share of the counting-noise ceiling (PCC / ceiling)"
            out.append(Block(title, (METHOD, *(_share(table.ceiling, name) for name in table.ceiling.mean))))
        out += _by_encoder(table)
        out.append(Block("PCC HVG by patient", (METHOD, *(_patient(name) for name in table.analysis.patients))))
    return out + downstream_blocks(table)


def downstream_blocks(table: Table) -> list[Block]:
    """One block a question about what predictions are good for; none where that was not computed."""
    held = table.downstream
    return [] if held is None else [
        Block(f"Downstream: {asked.title}", (METHOD, *(_downstream(held, *pair) for pair in asked.figures)))
        for asked in in_print(held)
    ]  # fmt: skip


def number(value: float | None, digits: int = 3) -> str:
    """`digits` decimals, none from 100 up, the absent sign for None."""
    if value is None:
        return ABSENT
    if abs(value) >= 100:
        return f"{value:.0f}" if abs(value) < 1e6 else f"{value:.3g}"
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"


def spread(header: str, name: str) -> Column:
    """A column "mean (over patients; over seeds)"; the brackets are left out where both are null."""

    def text(row: Row) -> str:
        figure = row.figure(name)
        if figure.sd_patients is None and figure.sd_seeds is None:
            return number(figure.mean)
        return f"{number(figure.mean)} ({number(figure.sd_patients)}; {number(figure.sd_seeds)})"

    return Column(header, text)


def _share(ceiling: Ceiling, name: str) -> Column:
    header = f"{name if name == 'all' else name.upper()} / {number(ceiling.mean[name])}"
    return Column(header, lambda row: number(ceiling.share(name, row.figure(f"pcc_{name}").mean), 2))


def _downstream(held: Downstream, header: str, name: str) -> Column:
    ceiling = f" / {number(held.ceiling[name], 2)}" if name in held.ceiling else ""
    return Column(
        f"{header}{ceiling}", lambda row: number(held.figure(row, name).mean, 1 if name.startswith("domains") else 3)
    )


def _patient(name: str) -> Column:
    return Column(name, lambda row: number(row.by_patient.get(RANKED_BY, {}).get(name)))


def _by_encoder(table: Table) -> list[Block]:
    """PCC HVG, encoders down and methods across, both in the order of their means; for a table of several encoders."""
    found = grid(table.rows)
    if found is None:
        return []

    def place(line: str) -> Column:
        def text(row: Row) -> str:
            at = found.rows.get((line, axis_of(row) or ""))
            return number(None if at is None else at.figure(RANKED_BY).mean)

        return Column(line, text)

    across = Column("mean", lambda row: number(found.mean(RANKED_BY, encoder=axis_of(row))))
    first = {encoder: row for (_, encoder), row in reversed(found.rows.items())}
    columns = (Column("Encoder", lambda row: axis_of(row) or ABSENT, numeric=False), *map(place, found.lines), across)
    return [Block("PCC HVG by encoder and method", columns, tuple(first[encoder] for encoder in found.encoders))]


METHOD = Column("Method", lambda row: row.title, numeric=False)
LINE = Column("Method", lambda row: row.line, numeric=False)  # beside the column of the encoder
RANK = Column("#", lambda row: ABSENT if row.rank is None else str(row.rank))
ENCODER = Column("Encoder", lambda row: row.encoder or ABSENT, numeric=False)


def _main(table: Table) -> tuple[Column, ...]:
    columns = [
        RANK,
        LINE,
        ENCODER,
        *([spread("HEST", HEST)] if has_hest(table) else []),
        spread("PCC MG", "pcc_mg"),
        spread("PCC HVG", "pcc_hvg"),
        spread("PCC HEG", "pcc_heg"),
        spread("PCC all", "pcc_all"),
        spread("MSE", "mse"),
        *within_columns(table, ("MG", "pcc_mg"), ("HVG", "pcc_hvg")),
        Column("sd ratio", lambda row: number(row.sd_ratio, 2)),
        Column("Undefined", lambda row: _pairs(row.undefined_prediction)),
        Column("Patients", lambda row: str(row.n_patients)),
        Column("Folds", lambda row: str(row.n_folds)),
        Column("Seeds", lambda row: str(row.n_seeds)),
        Column("MB", lambda row: number(row.size_mb, 1)),
        Column("Fit s", lambda row: number(row.fit_seconds, 1)),
        Column("Peak MB", lambda row: f"{row.peak_memory_mb:.0f}"),
        *_statistics(table),
    ]
    if any(remark(row, table.rows) for row in table.rows):
        columns.append(Column("Note", lambda row: remark(row, table.rows), numeric=False))
    return tuple(columns)


def within_columns(table: Table, *figures: tuple[str, str]) -> list[Column]:
    """Of a transfer, for each figure what the method reaches within the tested dataset, and what the transfer loses."""
    if not table.within:
        return []

    def column(header: str, part: Literal["figures", "drop"], name: str) -> Column:
        def text(row: Row) -> str:
            found = table.within.get(row.key)
            return ABSENT if found is None else number(getattr(found, part).get(name))

        return Column(header, text)

    pairs = (
        (column(f"{header} within", "figures", name), column(f"{header} drop", "drop", name))
        for header, name in figures
    )
    return [one for pair in pairs for one in pair]


def _statistics(table: Table) -> list[Column]:
    """Columns on pcc_hvg that exist only where there are patients enough."""
    analysis = table.analysis
    if not any(finding.interval for finding in analysis.findings.values()):
        return []
    columns = [Column("HVG 95 %", lambda row: interval(analysis.of(row).interval))]
    if analysis.reference is not None:
        columns += [
            Column(difference(table), lambda row: interval(analysis.of(row).difference_interval)),
            Column("p adj.", lambda row: number(analysis.of(row).p_adjusted)),
        ]
    return [
        *columns,
        Column("Ranks", lambda row: ranks(analysis.of(row).rank_interval)),
        Column("Tie", lambda row: str(analysis.of(row).tie_group or ABSENT)),
    ]


def difference(table: Table) -> str:
    """The header of the differences to the reference."""
    several = any(found.reference not in (None, table.analysis.reference) for found in table.analysis.findings.values())
    return f"Δ {table.analysis.reference}" + (" of the same encoder" if several else "")


def interval(ends: tuple[float, float] | None) -> str:
    """Both ends as "low..high", or the absent sign."""
    return ABSENT if ends is None else f"{number(ends[0])}..{number(ends[1])}"


def ranks(ends: tuple[int, int] | None) -> str:
    """Both ends as "low–high", one number where they are the same, or the absent sign."""
    if ends is None:
        return ABSENT
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def _detail(table: Table) -> list[tuple[str, list[tuple[str, str]]]]:
    groups = sorted({name for row in table.rows for name in row.figures if name.startswith("pcc_mg:")})
    four = [("MG", "pcc_mg"), ("HVG", "pcc_hvg"), ("HEG", "pcc_heg"), ("all", "pcc_all")]

    def with_suffix(suffix: str) -> list[tuple[str, str]]:
        return [(f"PCC {header}", name + suffix) for header, name in four]

    return [
        ("Unrounded predictions", [*with_suffix("_unrounded"), ("MSE", "mse_unrounded")]),
        ("Depth-adjusted", with_suffix("_depth_adjusted")),
        ("Spots of a patient pooled (never a headline)", [*with_suffix("_pooled"), ("MSE", "mse_pooled")]),
        (
            "Genes chosen on the test section, as BLEEP does (marked: it sees the test)",
            [("PCC HVG", "pcc_hvg_test_chosen"), ("PCC HEG", "pcc_heg_test_chosen")],
        ),
        ("Marker groups", [(name.removeprefix("pcc_mg:"), name) for name in groups]),
        ("Technical genes", [("PCC technical", "pcc_technical"), ("PCC others", "pcc_not_technical")]),
        ("MSE by genes", [("MSE MG", "mse_mg"), ("MSE HVG", "mse_hvg"), ("MSE HEG", "mse_heg")]),
        ("Entropy in bits", [("truth", "entropy_truth"), ("prediction", "entropy_prediction")]),
    ]


def _pairs(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.0f}" if value == int(value) else f"{value:.1f}"

"""A transfer's table beside the one within the tested dataset: which rows are the same method, and what the drop is."""

import csv
import io
import json
from typing import Any

import pytest
from qbench.leaderboard.export import tables_csv, tables_json
from qbench.leaderboard.markdown import tables_markdown
from qbench.leaderboard.page_data import table_data
from qbench.leaderboard.record import Record
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.table import Table
from qbench.leaderboard.terminal import print_tables
from qbench.leaderboard.transfer import with_within
from rich.console import Console

from ..support.leaderboard_factory import protocol, record

OWN = protocol(hash="b" * 12, dataset="second")
ACROSS = protocol(name="transfer", hash="c" * 12, dataset="first", test_dataset="second", held_out="groups")
PATIENTS = {"Q1": "Q", "R1": "R"}


def held(found: Record, sections: dict[str, str], content: str = "same", **more: Any) -> Record:
    """The record with a fold in its identity, as a run's has it."""
    test = {s: {"patient": p, "portion": "all", "spots": 20, "content": f"{s} {content}"} for s, p in sections.items()}
    identity = {**found.identity, "fold": {"name": "f", "train": {}, "validation": {}, "test": test}, **more}
    return found.model_copy(update={"identity": identity})


def within(method: str, hvg: tuple[float, float], **more: Any) -> list[Record]:
    pairs = zip(PATIENTS.items(), hvg, strict=True)
    return [
        held(record(method, patient, {section: {"pcc_hvg": value, "mse": 0.4}}, of=OWN, **more), {section: patient})
        for (section, patient), value in pairs
    ]


def across(method: str, hvg: tuple[float, float], content: str = "same", **more: Any) -> list[Record]:
    scores = {section: {"pcc_hvg": value, "mse": 0.5} for section, value in zip(PATIENTS, hvg, strict=True)}
    found = record(method, "Q", scores, of=ACROSS, fold="second", **more)
    fold = found.fold.model_copy(update={"test_patients": ("Q", "R")})
    # What follows from the training data differs, of course.
    return [held(found.model_copy(update={"fold": fold}), PATIENTS, content, rules={"markers": []}, reader={"x": 1})]


def transfer(records: list[Record]) -> Table:
    [table] = [t for t in with_within(summarise(records)) if t.protocol.test_dataset]
    return table


def test_the_drop_is_what_the_same_method_reaches_within_less_what_is_left() -> None:
    table = transfer([*within("ridge", (0.5, 0.7)), *within("qca", (0.4, 0.4)), *across("ridge", (0.3, 0.5))])
    [row] = table.rows
    found = table.within[row.key]
    assert found.figures["pcc_hvg"] == pytest.approx(0.6)
    assert found.drop["pcc_hvg"] == pytest.approx(0.2)
    assert found.drop["mse"] == pytest.approx(0.1)  # a larger error is a loss
    assert table.title.startswith("Protocol transfer (cccccccc) · dataset first → second")


@pytest.mark.parametrize(
    "other",
    [
        within("ridge", (0.5, 0.7), weights="f" * 64),
        within("ridge", (0.5, 0.7), settings={"alpha": 2}),
        within("ridge", (0.5, 0.7))[:1],  # without patient R
        [r.model_copy(update={"protocol": protocol(hash="d" * 12, dataset="third")}) for r in within("ridge", (1, 1))],
        [r.model_copy(update={"protocol": OWN.model_copy(update={"target": "proportion"})}) for r in within("ridge", (1, 1))],
        [r.model_copy(update={"protocol": OWN.model_copy(update={"leaky": True})}) for r in within("ridge", (1, 1))],
    ],
)  # fmt: skip
def test_another_method_dataset_target_or_set_of_patients_is_not_beside_it(other: list[Record]) -> None:
    assert transfer([*other, *across("ridge", (0.3, 0.5))]).within == {}


def test_sections_that_changed_since_are_not_beside_it() -> None:
    assert transfer([*within("ridge", (0.5, 0.7)), *across("ridge", (0.3, 0.5), content="corrected")]).within == {}


def test_records_that_hold_no_fold_are_not_beside_each_other() -> None:
    records = [*within("ridge", (0.5, 0.7)), *across("ridge", (0.3, 0.5))]
    assert (
        transfer([r.model_copy(update={"identity": {**r.identity, "fold": r.fold.name}}) for r in records]).within == {}
    )


def test_every_form_shows_it_and_no_other_table_changes() -> None:
    records = [*within("ridge", (0.5, 0.7)), *within("qca", (0.1, 0.1)), *across("ridge", (0.3, 0.5))]
    records += across("mean", (0.0, 0.0))
    tables = with_within(summarise(records))
    plain, shown = summarise(records), tables_json(tables)
    by_name = {table["protocol"]: table for table in shown["tables"]}
    assert by_name["patient"] == {table["protocol"]: table for table in tables_json(plain)["tables"]}["patient"]
    assert "test_dataset" not in by_name["patient"]
    rows = {row["method"]: row for row in by_name["transfer"]["rows"]}
    assert (by_name["transfer"]["dataset"], by_name["transfer"]["test_dataset"]) == ("first", "second")
    assert rows["ridge"]["within_pcc_hvg"] == pytest.approx(0.6)
    assert rows["ridge"]["drop_pcc_hvg"] == pytest.approx(0.2)
    assert "drop_pcc_hvg" not in rows["mean"]  # nobody ran it within
    json.dumps(shown)
    lines = {(line["protocol"], line["method"]): line for line in csv.DictReader(io.StringIO(tables_csv(tables)))}
    assert float(lines["transfer", "ridge"]["drop_pcc_hvg"]) == pytest.approx(0.2)
    assert lines["transfer", "mean"]["drop_pcc_hvg"] == lines["patient", "qca"]["drop_pcc_hvg"] == ""

    text = tables_markdown(tables)
    (head,) = [line for line in text.splitlines() if "HVG drop" in line]
    below = text[text.index(head) :].partition("\n\n")[0]
    (line,) = [line for line in below.splitlines() if "`ridge`" in line]
    names, cells = ([cell.strip() for cell in one.split("|")] for one in (head, line))
    assert dict(zip(names, cells, strict=True)) | {"HVG within": "0.600", "HVG drop": "0.200"} == dict(
        zip(names, cells, strict=True)
    )
    assert "within: the same method trained on other patients of second (protocol bbbbbbbb)" in text

    console = Console(width=160, record=True, file=io.StringIO())
    print_tables(tables, console)
    printed = console.export_text()
    assert "HVG drop" in printed
    assert "0.200" in printed

    [data] = [table_data(table, {}, []) for table in tables if table.protocol.test_dataset]
    assert (data["learned"], data["dataset"]) == ("first", "second")
    assert {row["title"]: row["drop"] and row["drop"]["pcc_hvg"] for row in data["rows"]} == {
        "ridge": pytest.approx(0.2),
        "mean": None,
    }

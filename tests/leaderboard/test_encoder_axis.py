"""Several encoders in one table: said so, ranked alone when asked, compared on their own reference, and as a grid."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.analysis import analyse, beats_controls
from qbench.leaderboard.columns import blocks
from qbench.leaderboard.encoder_axis import axis_of, grid
from qbench.leaderboard.export import tables_csv, tables_json
from qbench.leaderboard.folder import read_tables
from qbench.leaderboard.render import render
from qbench.leaderboard.statistics import max_t
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.table import Table
from qbench.leaderboard.terminal import print_tables
from rich.console import Console

from ..support.leaderboard_factory import record, simple

PATIENTS = "ABCDEF"
LEVELS = {"uni": 0.3, "plip": 0.2, "rgb": 0.1}


def on(method: str, encoder: str | None, level: float, seed: int = 0, **more: object) -> list:
    """A record a patient, whose values scatter about a level."""
    values = level + np.random.default_rng(seed).normal(0, 0.01, len(PATIENTS))
    return simple(method, dict(zip(PATIENTS, values.tolist(), strict=True)), encoder=encoder, **more)


@pytest.fixture(scope="module")
def records() -> list:
    found = [r for e, level in LEVELS.items() for r in on("ridge", e, level, seed=ord(e[0]))]
    found += [r for e, level in LEVELS.items() for r in on("qca", e, level + 0.05, seed=ord(e[0]) + 1)]
    found += on("knn", "conch", 0.25, seed=5) + on("mean", None, 0.0, seed=6, kind="control")
    # The mean colour belongs to `colour`, whichever encoder a run names.
    return found + [
        r.model_copy(update={"identity": {**r.identity, "encoders": {"rgb": {"encoder": "rgb"}}}})
        for r in on("colour", "rgb", 0.12, seed=7, kind="control")
    ]


@pytest.fixture(scope="module")
def table(records: list) -> Table:
    return summarise(records)[0]


def test_a_row_is_named_by_its_encoder_and_a_line_is_not(table: Table) -> None:
    rows = {(row.line, axis_of(row)): row for row in table.rows}
    assert {*rows} == {
        *(("ridge", e) for e in LEVELS), *(("qca", e) for e in LEVELS), ("knn", "conch"), ("mean", None), ("colour", None)
    }  # fmt: skip
    assert rows["ridge", "uni"].title == "ridge (encoder=uni)"
    assert rows["knn", "conch"].title == "knn"


def test_two_files_of_one_encoder_are_two_lines() -> None:
    found = summarise([r for w in "ab" for r in on("ridge", "uni", 0.3, weights=w * 64)] + on("ridge", "plip", 0.1))
    assert sorted(row.title for row in found[0].rows) == [
        "ridge (encoder=plip)",
        "ridge (encoder=uni, weights=aaaaaaaa)",
        "ridge (encoder=uni, weights=bbbbbbbb)",
    ]
    assert len({row.line for row in found[0].rows}) == 3


def test_every_format_says_that_encoders_are_mixed_and_shows_them(table: Table, records: list) -> None:
    said = "Rows on 4 encoders stand in one ranking (conch, plip, rgb, uni)"
    assert f"{said}: " in render([table], "md")
    assert said in render([table], "latex")
    assert tables_json([table])["tables"][0]["mixed"].startswith(said)
    assert tables_json([table])["tables"][0]["encoders"] == ["conch", "plip", "rgb", "uni"]
    assert "mixed" not in tables_csv([table]).splitlines()[0]
    for width in (80, 160):
        out = io.StringIO()
        print_tables([table], Console(file=out, width=width))
        assert said in " ".join(out.getvalue().split())
        assert "Encoder" in out.getvalue()
    alone = summarise(records, encoders=("uni",))
    assert "one ranking" not in render(alone, "md")


def test_one_encoder_ranked_alone(records: list) -> None:
    # On one fold fewer than others have it is incomplete, as before.
    short = [r for r in records if not (r.method.name == "qca" and r.encoder.name == "uni" and r.fold.name == "F")]
    [found] = summarise(short, encoders=("uni",))
    assert found.title.endswith("encoder uni alone")
    assert {(row.title, row.encoder) for row in found.rows} == {
        ("ridge", "uni"), ("qca", "uni"), ("mean", None), ("colour", "rgb")
    }  # fmt: skip
    [qca] = [row for row in found.rows if row.name == "qca"]
    assert (qca.complete, qca.folds_due) == (False, 6)
    assert found.row("ridge").rank == 1


def test_an_encoder_that_nothing_stands_on_is_refused(records: list, tmp_path: Path) -> None:
    for i, one in enumerate(records[:6]):
        folder = tmp_path / "p" / f"cell{i}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(one.model_dump_json(by_alias=True))
    with pytest.raises(ConfigurationError, match=r"no encoder in .* named 'uno'\. Did you mean 'uni'"):
        read_tables(tmp_path, encoders=["uno"])
    assert [t.only for t in read_tables(tmp_path, encoders=["uni"])[0]] == [("uni",)]


def test_a_row_is_compared_with_the_reference_on_its_own_encoder(table: Table) -> None:
    analysis = table.analysis
    assert analysis.reference == "ridge"
    rows = {(row.line, axis_of(row)): row for row in table.rows}
    values = {key: np.array([row.by_patient["pcc_hvg"][p] for p in PATIENTS]) for key, row in rows.items()}
    gaps = np.stack([values["qca", e] - values["ridge", e] for e in LEVELS])
    own, adjusted = max_t(gaps)
    for i, encoder in enumerate(LEVELS):
        found = analysis.of(rows["qca", encoder])
        assert found.reference == f"ridge (encoder={encoder})"
        assert found.difference == pytest.approx(gaps[i].mean())
        assert (found.p, found.p_adjusted) == (own[i], adjusted[i])
    for nobody in (("ridge", "uni"), ("knn", "conch"), ("mean", None), ("colour", None)):
        found = analysis.of(rows[nobody])
        assert (found.reference, found.difference, found.p_adjusted) == (None, None, None)
        assert found.interval is not None
    assert "Δ ridge of the same encoder" in render([table], "md")


def test_a_title_is_the_reference_of_all_rows(table: Table) -> None:
    analysis = analyse(table.rows, "ridge (encoder=plip)")
    assert analysis.reference == "ridge (encoder=plip)"
    assert sum(found.reference == "ridge (encoder=plip)" for found in analysis.findings.values()) == len(table.rows) - 1


def test_controls_are_those_on_the_own_encoder(table: Table) -> None:
    beats = {(row.line, axis_of(row)): beats_controls(row, table.rows) for row in table.rows}
    assert [beats["qca", e] for e in LEVELS] == [True, True, True]  # on plip and rgb below ridge on uni
    assert beats["knn", "conch"] is False  # no control stands on its encoder, so the best of all is


def test_the_grid_is_ordered_by_means_and_an_empty_place_has_none(table: Table) -> None:
    found = grid(table.rows)
    assert found is not None
    assert found.encoders[:3] == ("conch", "plip", "rgb")  # no encoder has all three lines: by name
    complete = grid([row for row in table.rows if row.line != "knn"])
    assert complete is not None
    assert (complete.lines, complete.encoders) == (("qca", "ridge"), ("uni", "plip", "rgb"))
    assert grid([row for row in table.rows if row.line != "knn"], "mse").encoders[0] == "plip"  # alike: by name
    assert complete.mean("pcc_hvg", line="ridge") == pytest.approx(0.2, abs=0.02)
    assert found.mean("pcc_hvg", encoder="conch") is None
    assert grid([row for row in table.rows if axis_of(row) in ("uni", None)]) is None
    [block] = [block for block in blocks(table, detail=True) if "by encoder" in block.title]
    assert [column.header for column in block.columns][0::4] == ["Encoder", "mean"]
    first = dict(
        zip([c.header for c in block.columns], [c.text(block.rows(table)[0]) for c in block.columns], strict=True)
    )
    assert (first["Encoder"], first["ridge"], first["mean"]) == ("conch", "–", "–")
    assert "PCC HVG by encoder and method" in render([table], "md", detail=True)


def test_failed_records_and_external_ones_have_a_place_or_none() -> None:
    assert axis_of(summarise([record("ridge", "A", failed="no")])[0].rows[0]) == "efficientnet_lite0"
    assert axis_of(summarise(on("mine", None, 0.1, kind="external"))[0].rows[0]) is None

"""The gap of two rows: its parts, and the refusal across protocols."""

import io

import numpy as np
import pytest
from qbench.errors import ConfigurationError
from qbench.leaderboard.compare import compare, gene_means
from qbench.leaderboard.compare_text import gap_json, print_gap, verdict
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell, read_scores
from qbench.leaderboard.summarise import summarise
from rich.console import Console

from ..support.leaderboard_factory import protocol, simple
from ..support.leaderboard_runs import make_runs


def test_a_gap_is_split_by_patient_section_and_gene(tmp_path):
    make_runs(tmp_path, {"qca": 0.9, "ridge": 0.4}, seeds=(0, 1))
    found = find_records(tmp_path)
    tables = summarise([record for _, record in found])
    folders = folders_by_cell(found)
    [gap] = compare(tables, "qca", "ridge", folders)
    row_a, row_b = tables[0].row("qca"), tables[0].row("ridge")
    assert gap.mean == pytest.approx(row_a.figure("pcc_hvg").mean - row_b.figure("pcc_hvg").mean)
    assert [pair.unit for pair in gap.patients] == ["A", "B"]
    assert [pair.unit for pair in gap.sections] == ["A1", "A2", "B1", "B2"]
    assert gap.sentence.startswith("n = 2")
    assert gap.p is None
    gaps = [pair.gap for pair in gap.genes]
    assert gaps == sorted(gaps, reverse=True)
    assert len(gaps) >= 50

    # One gene by hand: seeds and sections averaged, then the patients in whose fold it is among the HVG.
    gene = gap.genes[0]
    by_patient = {}
    for folder, record in found:
        scores = read_scores(folder)
        own = scores[(scores.level == "section") & (scores.gene == gene.unit) & scores.hvg]
        if record.method.name == "qca" and len(own):
            by_patient.setdefault(record.fold.name, []).append(own["pcc"].mean())
    assert gene.first == pytest.approx(np.mean([np.mean(values) for values in by_patient.values()]))


def test_gene_means_average_back_to_the_figure(tmp_path):
    make_runs(tmp_path, {"ridge": 0.6}, patients="A", sections=1)
    found = find_records(tmp_path)
    [table] = summarise([record for _, record in found])
    means = gene_means(table.rows[0], folders_by_cell(found), "pcc", "hvg")
    assert np.mean(list(means.values())) == pytest.approx(table.rows[0].figure("pcc_hvg").mean)


def test_six_patients_get_a_probability_and_an_interval():
    values = {p: 0.3 + 0.01 * i for i, p in enumerate("ABCDEF")}
    tables = summarise([*simple("qca", values), *simple("ridge", {p: v - 0.1 for p, v in values.items()})])
    [gap] = compare(tables, "qca", "ridge", {})
    assert gap.p == 2 / 2**6
    assert gap.interval == pytest.approx((0.1, 0.1))
    assert "same sign on 6 of 6 patients" in verdict(gap)
    assert gap.genes == ()
    assert gap_json(gap)["gap"] == pytest.approx(0.1)


def test_across_protocols_it_is_refused_and_says_what_differs():
    other = protocol(target="proportion", hash="b" * 64, sections=("A1",))
    tables = summarise([*simple("qca", {"A": 0.3}), *simple("ridge", {"A": 0.1}, of=other)])
    with pytest.raises(ConfigurationError, match=r"sections .*target \(counts, proportion\)") as error:
        compare(tables, "qca", "ridge", {})
    assert "same protocol" in str(error.value)


def test_patients_and_rules_are_told_one_by_one():
    def of(hash_: str, size: int, patient: str, data: str):
        rules = {"panel_size": size, "markers": [["tumour", ["ERBB2"]]]}
        said = {"patients": {"A1": "A", "A2": patient}, "rules": rules, "data": data * 64}
        return protocol(hash=hash_ * 64, definition=said)

    tables = summarise(
        [
            *simple("qca", {"A": 0.3}, of=of("a", 1000, "A", "d")),
            *simple("ridge", {"A": 0.1}, of=of("b", 500, "E", "e")),
        ]
    )
    with pytest.raises(ConfigurationError) as error:
        compare(tables, "qca", "ridge", {})
    assert "data (dddddddd, eeeeeeee); patients A2 (A, E); rules panel_size (1000, 500); run" in str(error.value)


def test_across_tracks_it_is_refused():
    tables = summarise([*simple("qca", {"A": 0.3}, profile="paper"), *simple("ridge", {"A": 0.1})])
    with pytest.raises(ConfigurationError, match=r"track \(paper, fast\)"):
        compare(tables, "qca", "ridge", {})


def test_an_unknown_row_gets_a_hint_and_an_unknown_figure_too():
    tables = summarise([*simple("qca", {"A": 0.3}), *simple("ridge", {"A": 0.1})])
    with pytest.raises(ConfigurationError, match="Did you mean 'ridge'"):
        compare(tables, "qca", "rigde", {})
    with pytest.raises(ConfigurationError, match="figure named 'pcc_hgv'"):
        compare(tables, "qca", "ridge", {}, "pcc_hgv")


def test_rows_without_a_common_patient_are_refused():
    tables = summarise([*simple("qca", {"A": 0.3}), *simple("ridge", {"B": 0.1})])
    with pytest.raises(ConfigurationError, match="both qca and ridge are done"):
        compare(tables, "qca", "ridge", {})


def test_it_prints(tmp_path):
    make_runs(tmp_path, {"qca": 0.9, "ridge": 0.4})
    found = find_records(tmp_path)
    [gap] = compare(summarise([record for _, record in found]), "qca", "ridge", folders_by_cell(found))
    console = Console(file=io.StringIO(), record=True, width=100)
    print_gap(gap, console)
    text = console.export_text()
    assert "qca − ridge = +" in text
    assert gap.genes[0].unit in text
    assert gap.genes[-1].unit in text

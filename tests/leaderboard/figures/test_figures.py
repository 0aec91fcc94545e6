"""Figures are drawn from stored files, leave out what is not there, and are the same each time."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from qbench.errors import ConfigurationError, QbenchError
from qbench.leaderboard.codes import perplexity
from qbench.leaderboard.figures.ablation import ablations, sweeps
from qbench.leaderboard.figures.canvas import COLOURS, new_figure, save
from qbench.leaderboard.figures.choose import choose_rows
from qbench.leaderboard.figures.codebook import features_and_codes
from qbench.leaderboard.figures.distributions import count_bins, of_gene
from qbench.leaderboard.figures.draw import draw_figures
from qbench.leaderboard.figures.entropy import by_weight
from qbench.leaderboard.figures.per_gene import per_gene
from qbench.leaderboard.figures.tissue import on_tissue
from qbench.leaderboard.folder import with_ceilings
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell, read_scores
from qbench.leaderboard.summarise import summarise

from ...support.leaderboard_factory import record, simple
from ...support.leaderboard_runs import make_runs


def load(folder):
    found = find_records(folder)
    folders = folders_by_cell(found)
    return with_ceilings(summarise([record for _, record in found]), folders), folders


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    code = rng.integers(0, 6, 80)
    vectors = rng.normal(size=(6, 12))
    kept = {
        "sample_bounded": vectors[code] + rng.normal(0, 0.2, (80, 12)),
        "sample_rounded": vectors[code],
        "sample_code": code,
        "codes": np.arange(6),
        "code_counts": np.bincount(code),
    }
    make_runs(folder, {"qca": 0.8}, diagnostics=kept)
    make_runs(folder, {"ridge": 0.4})
    return load(folder)


@pytest.mark.slow
def test_every_figure_that_the_data_allow_is_written_twice(runs, tmp_path):
    tables, folders = runs
    seen = []
    paths = draw_figures(tables, folders, tmp_path, ["ERBB2", "<script>alert(1)</script>"], lambda *at: seen.append(at))
    names = {path.name for path in paths}
    assert {path.suffix for path in paths} == {".png", ".svg"}
    assert {
        "tissue-A1-fixed.png",
        "tissue-B1-own.svg",
        "distribution-ERBB2.png",
        "pcc-by-gene.svg",
        "codebook-qca.png",
    } <= names
    assert not any("entropy" in name or "sweep" in name or "ablation" in name for name in names)
    assert all(path.stat().st_size > 2000 and "<" not in path.name for path in paths)
    assert len(seen) > 5
    assert (paths[0].parent.name).startswith("her2st-patient-counts-fast-aaaaaaaa")


def test_the_same_data_give_the_same_file(runs, tmp_path):
    [table], folders = runs
    for name in ("one", "two"):
        save(on_tissue(table, table.rows, "A1", ["ERBB2"], folders, "fixed"), tmp_path / name, "x")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one/x.{suffix}").read_bytes() == (tmp_path / f"two/x.{suffix}").read_bytes()


def test_a_fixed_scale_is_shared_and_an_own_one_is_not(runs):
    [table], folders = runs

    def limits(scale: str) -> list[tuple[float, float]]:
        figure = on_tissue(table, table.rows, "A1", ["ERBB2"], folders, scale)
        return [axes.collections[0].get_clim() for axes in figure.axes if axes.collections and axes.get_title()]

    fixed, own = limits("fixed"), limits("own")
    assert len(fixed) == len(own) == 3
    assert len(set(fixed)) == 1
    assert fixed[0][0] == 0
    assert len(set(own)) == 3


EIGHT = {f"m{i}": i / 10 for i in range(1, 9)}


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Eight methods on patient A, of which m8 alone is on patient B too."""
    folder = tmp_path_factory.mktemp("eight")
    make_runs(folder, EIGHT, patients="A", sections=1)
    make_runs(folder, {"m8": 0.8}, patients="B", sections=1)
    return load(folder)


def drawn_titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_every_row_asked_for_is_in_every_figure(eight):
    [table], folders = eight
    rows, notes = choose_rows(table, ["m8", *list(EIGHT)[:7]], folders)
    assert [row.title for row in rows] == ["m8", *list(EIGHT)[:7]]
    assert sum("drawn from the cells it has" in note for note in notes) == 7  # all but m8 lack patient B
    assert drawn_titles(on_tissue(table, rows, "A1", ["ERBB2"], folders, "fixed")) == [
        "truth",
        *(r.title for r in rows),
    ]
    beside = on_tissue(table, rows, "B1", ["ERBB2"], folders, "fixed")
    assert drawn_titles(beside) == ["truth", *(r.title for r in rows)]
    assert sum(text.get_text() == "no cell" for axes in beside.axes for text in axes.texts) == 7
    curves = of_gene(table, rows, "ERBB2", folders).axes[-1]
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["truth", *(r.title for r in rows)]
    looks = {(line.get_color(), line.get_linestyle()) for line in curves.lines}
    assert len(looks) == 9  # told apart, more than there are colours
    violins = per_gene(table, rows, folders).axes[0]
    assert [label.get_text() for label in violins.get_xticklabels()] == [*(r.title for r in rows), "ceiling"]


def test_rows_are_asked_for_by_label_or_by_method(tmp_path):
    make_runs(tmp_path, {"qca": 0.8})
    [table], folders = load(tmp_path)
    tuned = [replace(row, key="x", method="qca[alpha=0.5]", rank=None) for row in table.rows]
    table = replace(table, rows=(*table.rows, *tuned))
    assert [row.method for row in choose_rows(table, ["qca"], folders)[0]] == ["qca"]
    assert [row.method for row in choose_rows(table, ["qca[alpha=0.5]"], folders)[0]] == ["qca[alpha=0.5]"]
    only = replace(table, rows=tuple(tuned))
    assert [row.method for row in choose_rows(only, ["qca"], folders)[0]] == ["qca[alpha=0.5]"]


def test_without_names_the_five_best_are_drawn_and_the_others_named(tmp_path):
    make_runs(tmp_path, EIGHT, patients="A", sections=1)
    [table], folders = load(tmp_path)
    rows, [note] = choose_rows(table, [], folders)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert all(row.title in note for row in table.rows if row not in rows)
    said = []
    draw_figures([table], folders, tmp_path / "f", [], lambda what, *_: said.append(what))
    assert note in said


def test_a_row_that_nobody_has_or_that_failed_is_refused(eight, tmp_path):
    [table], folders = eight
    with pytest.raises(ConfigurationError, match=r"no row named 'm9'\. Did you mean 'm"):
        draw_figures([table], folders, tmp_path, [], methods=["m9"])
    [failed] = summarise([record("bleep", "A", failed="no loss")])
    with pytest.raises(ConfigurationError, match=r"bleep to draw, found none stored \(1 of 1 cells failed\)"):
        draw_figures([table, failed], folders, tmp_path, [], methods=["m1", "bleep"])
    assert not list(tmp_path.iterdir())


def test_entropy_takes_the_weights_of_a_row_that_is_not_asked_for(tmp_path):
    make_runs(tmp_path, EIGHT, patients="A", sections=1)
    [table], folders = load(tmp_path)
    genes = len(read_scores(next(iter(folders.values()))).query("level == 'section'"))
    weight = np.random.default_rng(1).random(genes)
    make_runs(tmp_path, {"qca": 0.9}, patients="A", sections=1, diagnostics={"gene_weight_l1": weight})
    [table], folders = load(tmp_path)
    rows, _ = choose_rows(table, list(EIGHT), folders)
    lines = [line.get_label() for line in by_weight(table, rows, folders).axes[0].lines]
    assert lines == ["truth", "qca", *EIGHT]


def test_what_is_not_stored_is_not_drawn(runs, tmp_path):
    [table], folders = runs
    assert on_tissue(table, table.rows, "A1", ["NOT_A_GENE"], folders, "fixed") is None
    assert of_gene(table, table.rows, "NOT_A_GENE", folders) is None
    assert by_weight(table, table.rows, folders) is None
    assert features_and_codes(table.row("ridge"), folders) is None
    alone = draw_figures(summarise(simple("qca", {"A": 0.1})), {}, tmp_path)
    assert {path.name for path in alone} == {"board.png", "board.svg"}  # a record is enough for these


def test_bars_of_counts_double_and_cover_every_count():
    edges, labels = count_bins(20)
    assert edges.tolist() == [0, 1, 2, 3, 5, 9, 17]
    assert labels == ["0", "1", "2", "3–4", "5–8", "9–16", "17–20"]
    assert (np.searchsorted(edges, [0, 4, 5, 20], side="right") - 1).tolist() == [0, 3, 4, 6]
    assert count_bins(0)[0].tolist() == [0, 1, 2]


def test_entropy_is_averaged_in_fifths_by_weight(tmp_path):
    make_runs(tmp_path, {"ridge": 0.4}, patients="A", sections=1)
    # As many weights as the panel has genes: known only now.
    [table], folders = load(tmp_path)
    scores = read_scores(next(iter(folders.values())))
    scores = scores[scores.level == "section"]
    weight = np.random.default_rng(1).random(len(scores))
    make_runs(tmp_path, {"qca": 0.9}, patients="A", sections=1, diagnostics={"gene_weight_l1": weight})
    [table], folders = load(tmp_path)
    axes = by_weight(table, table.rows, folders).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert set(lines) == {"truth", "qca", "ridge"}
    order = np.argsort(weight)
    expected = [scores["entropy_truth"].to_numpy()[part].mean() for part in np.array_split(order, 5)]
    sizes = {len(part) for part in np.array_split(order, 5)}
    if len(sizes) == 1:
        assert lines["truth"] == pytest.approx(expected)
    assert np.average(lines["truth"]) == pytest.approx(scores["entropy_truth"].mean(), rel=0.05)


def test_code_usage_is_a_perplexity():
    assert perplexity(np.array([5, 5, 5, 5])) == pytest.approx(4)
    assert perplexity(np.array([20, 0])) == 1


def test_ablations_and_sweeps_need_rows_of_one_method():
    base = {"alpha": 0.1, "quantizer": "fsq"}

    def rows(value: float, **settings):
        return simple("qca", {"A": value, "B": value + 0.1}, parameters=base, settings=settings)

    records = [*rows(0.2), *rows(0.3, alpha=0.5), *rows(0.1, alpha=0.9), *rows(0.15, quantizer="none")]
    [table] = summarise([*records, *simple("ridge", {"A": 0.1, "B": 0.1})])
    assert set(ablations(table)) == {"ablation-qca"}
    found = sweeps(table)
    assert set(found) == {"sweep-qca-alpha"}
    line = next(line for line in found["sweep-qca-alpha"].axes[0].lines if line.get_marker() == "o")
    assert line.get_xdata().tolist() == [0.1, 0.5, 0.9]
    assert line.get_ydata() == pytest.approx([0.25, 0.35, 0.15])


# Machado, Oliveira & Fernandes 2009, full severity, on linear RGB.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


@pytest.mark.parametrize("eye", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_colours_stay_apart_for_colour_blind_eyes(eye):
    linear = np.array([to_rgb(colour) for colour in COLOURS]) ** 2.2
    seen = np.clip(linear @ np.array(eye).T, 0, 1) ** (1 / 2.2)
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert apart[np.triu_indices(len(COLOURS), 1)].min() > 0.15


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(QbenchError, match="Could not save figures"):
        save(new_figure(1, 1), tmp_path / "file" / "below", "x")

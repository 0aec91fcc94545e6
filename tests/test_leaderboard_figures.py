"""Figures are drawn from stored files, leave out what is not there, and are the same each time."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from qbench.errors import QbenchError
from qbench.leaderboard.ceiling import with_ceilings
from qbench.leaderboard.codes import perplexity
from qbench.leaderboard.figures.ablation import ablations, sweeps
from qbench.leaderboard.figures.canvas import COLOURS, new_figure, save
from qbench.leaderboard.figures.codebook import features_and_codes
from qbench.leaderboard.figures.distributions import count_bins, of_gene
from qbench.leaderboard.figures.draw import draw_figures
from qbench.leaderboard.figures.entropy import by_weight
from qbench.leaderboard.figures.tissue import on_tissue
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell, read_scores
from qbench.leaderboard.summarise import summarise

from .leaderboard_factory import simple
from .leaderboard_runs import make_runs


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


def test_what_is_not_stored_is_not_drawn(runs):
    [table], folders = runs
    assert on_tissue(table, table.rows, "A1", ["NOT_A_GENE"], folders, "fixed") is None
    assert of_gene(table, table.rows, "NOT_A_GENE", folders) is None
    assert by_weight(table, table.rows, folders) is None
    assert features_and_codes(table.row("ridge"), folders) is None
    assert draw_figures(summarise(simple("qca", {"A": 0.1})), {}, folders and next(iter(folders.values())).parent) == []


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

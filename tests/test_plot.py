"""`qbench.plot`: results drawn on axes that are given or made, by row, patient, gene, section and encoder."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import qbench
from qbench.errors import ConfigurationError

from .leaderboard.test_encoder_axis import LEVELS, on
from .support.leaderboard_runs import make_runs

matplotlib.use("agg")
plt: Any = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("runs")
    make_runs(folder, {"qca": 0.8, "ridge": 0.4}, sections=1)
    return qbench.read_runs(folder)


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def labels(axes: Any) -> list[str]:
    return [tick.get_text() for tick in axes.get_yticklabels()]


def test_rows_are_drawn_on_the_axes_given_and_returned(results: Any) -> None:
    _, ax = plt.subplots()
    assert qbench.plot.board(results, ax=ax) is ax
    assert labels(ax) == ["qca", "ridge"]
    assert [text.get_text() for text in ax.texts] == [f"{value:.3f}" for value in results["pcc_hvg"]]
    assert labels(qbench.plot.board(results, "mse", ["ridge"])) == ["ridge"]
    assert plt.rcParams["axes.spines.top"] is True  # nothing outside is restyled


def test_patients_are_coloured_lines_over_the_rows(results: Any) -> None:
    lines = qbench.plot.patients(results).get_lines()
    assert [line.get_label() for line in lines] == ["A", "B"]
    by_patient = results.by_patient().set_index(["method", "patient"])["pcc_hvg"]
    assert list(lines[0].get_xdata()) == [by_patient["qca", "A"], by_patient["ridge", "A"]]


def test_genes_are_a_distribution_a_row(results: Any) -> None:
    axes = qbench.plot.genes(results)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["qca", "ridge"]


def test_tissue_shows_truth_and_rows_on_one_scale(results: Any) -> None:
    axes = qbench.plot.tissue(results, "A1", ["ERBB2", "G3"])
    assert axes.shape == (2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["truth", "qca", "ridge"]
    assert len({ax.collections[0].get_clim() for ax in axes[0]}) == 1
    pcc = results.by_gene().query("method == 'qca' and section == 'A1' and gene == 'ERBB2'")["pcc_unrounded"].item()
    assert axes[0, 1].texts[0].get_text() == f"PCC {pcc:.2f}"
    with pytest.raises(ConfigurationError, match=r"Expected axes of 1 x 3 .* found \(1, 2\)"):
        qbench.plot.tissue(results, "A1", ["ERBB2"], axes=plt.subplots(1, 2, squeeze=False)[1])


def test_a_figure_is_made_outside_the_style(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The style's end would undo what a notebook's backend sets up with the first figure, and no later one would show.
    seen = []
    monkeypatch.setattr(qbench.plot, "style", lambda: seen.append(len(plt.get_fignums())) or nullcontext())
    qbench.plot.board(results)
    qbench.plot.tissue(results, "A1", ["ERBB2"])
    assert seen == [1, 2, 2]


def test_what_is_not_there_is_said(results: Any) -> None:
    for call, said in (
        (lambda: qbench.plot.board(results, methods=["qcs"]), "no row named 'qcs'. Did you mean 'qca'"),
        (lambda: qbench.plot.board(results, "pcc_hvh"), "no figure named 'pcc_hvh'. Did you mean 'pcc_hvg'"),
        (lambda: qbench.plot.board(results, table=1), "Expected a place among 1 tables, found 1"),
        (lambda: qbench.plot.tissue(results, "A1", ["ERBB3"]), "Expected predictions of ERBB3 stored for section A1"),
        (lambda: qbench.plot.tissue(results, "A9", ["ERBB2"]), "Expected predictions of ERBB2 stored for section A9"),
        (lambda: qbench.plot.encoders(results), "Expected rows on two encoders or more, found fewer"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            call()


def test_method_by_encoder_is_a_heat_map() -> None:
    from qbench.leaderboard.frames import Results
    from qbench.leaderboard.summarise import summarise

    found = Results(summarise([r for e in LEVELS for m in ("ridge", "qca") for r in on(m, e, LEVELS[e])]), {})
    axes = qbench.plot.encoders(found)
    best = max(LEVELS, key=lambda name: LEVELS[name])
    assert axes.get_xticklabels()[0].get_text() == best
    assert sorted(labels(axes)) == ["qca", "ridge"]
    with pytest.raises(ConfigurationError, match="Expected scores stored for these rows, found none"):
        qbench.plot.genes(found)

"""Results as data frames: tidy, plain once cut, and in a notebook the table of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qbench.leaderboard.folder import read_tables
from qbench.leaderboard.frames import Results

from ..support.leaderboard_runs import make_runs


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("runs")
    make_runs(folder, {"qca": 0.8, "ridge": 0.4})
    return Results(*read_tables(folder))


def test_a_line_is_a_row_and_what_is_cut_of_it_is_plain(results: Any) -> None:
    assert list(results["method"]) == ["qca", "ridge"]
    for made in (results[results["rank"] == 1], results.copy(), results[["method"]]):
        assert type(made) is pd.DataFrame


def test_the_figures_behind_a_row_average_to_it(results: Any) -> None:
    by_patient = results.by_patient()
    means = by_patient.groupby("method")["pcc_hvg"].mean()
    np.testing.assert_allclose(means[results["method"]], results["pcc_hvg"])
    genes = results.by_gene()
    hvg = genes[genes["hvg"]].groupby(["method", "patient", "section"])["pcc"].mean()
    np.testing.assert_allclose(hvg.groupby(["method", "patient"]).mean().groupby("method").mean(), means)
    assert {"method", "variant", "encoder", "seed", "section", "patient", "gene", "pcc", "mse"} <= set(genes)


def test_a_notebook_shows_what_the_command_line_prints(results: Any) -> None:
    shown = results._repr_html_()
    text = re.sub(r"<[^>]+>", "", shown)
    assert results.tables[0].title in text
    assert re.search(rf"1\s+qca\s+.*{results['pcc_hvg'][0]:.3f}", text)
    assert shown.startswith("<pre")

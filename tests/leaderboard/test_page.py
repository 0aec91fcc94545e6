"""The page as a file: self-contained, escaped, bounded, the same each time."""

import json
import re

import pytest
from qbench.errors import DataError
from qbench.leaderboard import page as page_module
from qbench.leaderboard.folder import with_ceilings
from qbench.leaderboard.page import render_page, script_json
from qbench.leaderboard.page_maps import Thumbnail, map_data, map_genes
from qbench.leaderboard.record import find_records
from qbench.leaderboard.stored import folders_by_cell, read_predictions
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_factory import record, simple
from ..support.leaderboard_runs import make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder, {"qca": 0.8, "ridge": 0.5})
    found = find_records(folder)
    folders = folders_by_cell(found)
    return with_ceilings(summarise([r for _, r in found]), folders), folders


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_nothing_is_loaded_and_only_the_own_script_may_run(runs):
    page = render_page(*runs)
    assert "default-src 'none'" in page
    assert not re.search(r"<(link|iframe|img|object|embed)\b|\bsrc=|@import|url\(", page)
    assert page.count("<script") == page.count("</script>") == 2


def test_hostile_names_stay_data(runs):
    tables = summarise(
        [*simple("</script><script>alert(1)</script>", {"A": 0.5}), record("b", "A", failed="<!-- <script>")]
    )
    page = render_page(tables, {})
    assert page.count("<script") == 2
    assert "<!--" not in page
    assert data_of(page)["tables"][0]["rows"][0]["method"] == "</script><script>alert(1)</script>"
    assert script_json("\u2028<&>") == '"\\u2028\\u003c\\u0026\\u003e"'


def test_the_same_records_give_the_same_page(runs):
    assert render_page(*runs) == render_page(*runs)


def test_maps_hold_truth_and_rows_in_bytes(runs):
    import base64

    import numpy as np

    [table], folders = runs
    genes = map_genes(table, folders, ["G7"])
    assert genes[0] == "G7"
    assert "<script>alert(1)</script>" in genes
    maps = map_data(table, folders, genes, {("her2st", "A1"): Thumbnail(b"x", "image/png", 900, 800)})
    held = maps["sections"]["A1"]
    assert (held["image"], held["size"], maps["sections"]["B1"]["image"]) == (True, [900, 800], False)
    spots = len(held["xy"]) // 2
    values = np.frombuffer(base64.b64decode(held["values"]), np.uint8).reshape(len(held["genes"]), 3, spots)
    cell = next(r for r in table.row("qca").records if r.fold.name == "A")
    stored = read_predictions(folders[cell.cell], held["genes"])
    at = stored.sections == "A1"
    restored = values / 255 * np.array(held["scale"])[:, None, None]
    assert np.abs(restored[:, 0] - stored.truth[at].T).max() < 0.02
    assert np.abs(restored[:, 1 + maps["rows"].index(table.row("qca").key)] - stored.prediction[at].T).max() < 0.02


def test_a_crowded_page_keeps_fewer_genes_and_says_so(runs, monkeypatch):
    monkeypatch.setattr(page_module, "_MAPS", 5 * 6 * 4)
    data = data_of(render_page(*runs))
    assert "The maps hold the first" in data["note"]
    assert len(data["tables"][0]["maps"]["sections"]["A1"]["genes"]) < len(map_genes(*[runs[0][0], runs[1]], []))


def test_a_page_above_the_limit_is_refused(runs, monkeypatch):
    monkeypatch.setattr(page_module, "LARGEST", 1000)
    with pytest.raises(DataError, match="smaller thumbnails"):
        render_page(*runs)


def test_without_predictions_there_are_figures_but_no_maps():
    data = data_of(render_page(summarise(simple("ridge", {"A": 0.5})), {}))
    assert data["tables"][0]["maps"] is None
    assert data["tables"][0]["genes"] == []
    assert data["tables"][0]["rows"][0]["figures"]["pcc_hvg"][0] == 0.5


def test_an_empty_board_is_a_page_too():
    assert data_of(render_page([], {}))["tables"] == []

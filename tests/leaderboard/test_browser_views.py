"""The page's views beside the plain board, each of a board of its own, in a real browser; see test_browser.py."""

import time

import pytest
from qbench.benchmark.downstream.folder import make_all
from qbench.leaderboard.folder import with_downstream
from qbench.leaderboard.page import render_page
from qbench.leaderboard.record import find_records
from qbench.leaderboard.searched import read_searched
from qbench.leaderboard.stored import folders_by_cell
from qbench.leaderboard.summarise import summarise
from qbench.leaderboard.transfer import with_within

from ..support.leaderboard_factory import simple
from ..support.leaderboard_runs import make_runs
from .test_browser import HOSTILE, names
from .test_finer import fine_map
from .test_searched import HOSTILE as UNTRUSTED
from .test_searched import searched
from .test_transfer import across, within

pytestmark = pytest.mark.slow


def test_two_hundred_methods_open_without_delay(browser, tmp_path):
    patients = dict.fromkeys("ABCDEFGH", 0.3)
    records = [r for i in range(200) for r in simple(f"m{i}", {p: v + i / 1000 for p, v in patients.items()})]
    path = tmp_path / "many.html"
    path.write_text(render_page(summarise(records), {}), encoding="utf-8")
    assert path.stat().st_size < 25_000_000
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector(".grid tbody tr:nth-child(200)", state="attached")
    assert time.perf_counter() - start < 5
    took = page.evaluate(
        "() => { const t = performance.now(); document.querySelectorAll('.grid th button')[2].click();"
        " document.body.offsetHeight; return performance.now() - t; }"
    )
    assert took < 1000
    page.close()


def test_method_by_encoder(browser, tmp_path):
    found = [
        r
        for encoder, level in (("plip", 0.1), ("uni", 0.3))
        for method, more in (("ridge", 0.0), ("qca", 0.06))
        for r in simple(method, {"A": level + more, "B": level}, encoder=encoder, mse=1 - level)
    ]
    found += simple("mean", {"A": 0.0, "B": 0.0}, encoder=None, kind="control")
    path = tmp_path / "board.html"
    path.write_text(render_page(summarise(found), {}), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator(".say").first.inner_text().startswith("Rows on 2 encoders stand in one ranking (plip, uni)")
    assert page.locator(".grid tbody .who").first.inner_text().split("\n")[0].startswith("qca")
    page.get_by_text("Method by encoder", exact=True).click()
    read = lambda: [row.split() for row in page.locator(".matrix tr").all_inner_texts()]  # noqa: E731
    due = [["Encoder", "qca", "ridge", "mean"], ["uni", "0.330", "0.300", "0.315"], ["plip", "0.130", "0.100", "0.115"]]
    assert read() == [*due, ["mean", "0.230", "0.200", "0.215"]]
    assert "n = 2: nothing can be told apart" in page.locator(".legend:visible").inner_text()
    assert "mean 0.000" in page.locator(".legend:visible").inner_text()
    depth = [cell.get_attribute("style") for cell in page.locator(".matrix .place").all()]
    assert depth[0] == "--heat:60%"
    assert depth[-1] == "--heat:0%"
    page.locator("#encoder-figure").select_option("mse")
    assert [line[0] for line in read()[1:3]] == ["uni", "plip"]  # the lower error first
    page.locator("#filter").fill("plip")
    assert len(read()) == 3
    page.locator(".matrix .place button").first.click()
    assert "(encoder=plip)" in page.locator("#drawer-title").inner_text()
    page.close()


def test_downstream_has_a_view_with_a_tab_a_question(browser, tmp_path):
    make_runs(tmp_path / "runs", {"qca": 0.8, "mean": 0.0}, sections=1)
    found = find_records(tmp_path / "runs")
    make_all(found, {"<b>set</b>": ("ERBB2", "G3", "G4")}, {}, lambda *_: None)
    [table] = with_downstream(summarise([r for _, r in found]), folders_by_cell(found))
    path = tmp_path / "board.html"
    path.write_text(render_page([table], folders_by_cell(found)), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.get_by_text("Downstream", exact=True).click()
    assert not page.locator("#set").is_visible()
    tabs = page.locator(".downstream [role=tab]").all_inner_texts()
    assert tabs == [
        "Spearman (ρ) and RVD, gene by gene",
        "PCC by spatial scale",
        "spatial patterns",
        "domains (Leiden)",
        "profiles, spot by spot",
        "gene sets (correlation of the sets' mean)",
    ]
    page.get_by_role("tab", name="PCC by spatial scale").click()
    assert page.locator(".downstream thead").inner_text().split("\t")[1:4] == ["near HVG", "middle HVG", "far HVG"]
    qca = next(row for row in table.rows if row.method == "qca")
    shown = page.locator(".downstream tbody tr").first.inner_text().split("\t")
    assert shown[1].startswith(f"{table.downstream.figure(qca, 'near_hvg').mean:.3f}")
    ceiling = page.locator(".downstream tfoot").inner_text().split("\t")
    assert ceiling[:2] == ["what counting noise allows", f"{table.downstream.ceiling['near_hvg']:.3f}"]
    page.locator("#filter").fill("mean")
    assert page.locator(".downstream tbody tr").count() == 1
    page.get_by_role("tab", name="gene sets").click()
    assert "<b>set</b>" in page.locator(".downstream thead").inner_text()
    page.locator(".downstream tbody tr").first.click()
    assert page.locator("#drawer-title").inner_text() == "mean"
    page.close()


def test_a_transfer_shows_the_drop_and_sorts_by_it(browser, tmp_path):
    records = [*within("ridge", (0.5, 0.7)), *within("qca", (0.9, 0.9))]
    records += [*across("ridge", (0.3, 0.5)), *across("qca", (0.4, 0.4)), *across("mean", (0.0, 0.0))]
    path = tmp_path / "board.html"
    path.write_text(render_page([t for t in with_within(summarise(records)) if t.within], {}), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector(".grid tbody tr")
    assert "first → second" in page.inner_text(".meta")
    header = page.get_by_role("columnheader", name="drop")
    header.get_by_role("button").click()
    assert names(page) == ["ridge", "qca", "mean"]  # the least loss first; who has no figure within stays below
    assert "0.600" in page.locator(".grid tbody tr").first.inner_text()
    page.get_by_role("button", name="Transfer").click()
    assert page.locator(".grid thead tr").first.inner_text().split("\t") == ["Method", "PCC HVG", "MSE"]
    ridge = next(
        text.split("\t") for text in page.locator(".grid tbody tr").all_inner_texts() if text.startswith("ridge")
    )
    assert ridge[1:4] == ["0.400", "0.600", "+0.200"]
    page.close()


def test_a_map_finer_than_spots_is_drawn_beside_those_of_its_section(browser, tmp_path):
    make_runs(tmp_path / "runs", {"ridge": 0.5}, patients="A", sections=1)
    found = find_records(tmp_path / "runs")
    tables, folders = summarise([r for _, r in found]), folders_by_cell(found)
    finer = {"A1": fine_map(tmp_path / "map.h5ad", (HOSTILE, "ERBB2"), points=40, step=100.0)}
    path = tmp_path / "board.html"
    path.write_text(render_page(tables, folders, finer=finer), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.get_by_label("Genes with maps").select_option("ERBB2")
    last = page.locator("#gene-maps figure").last
    assert "istar, every 80 µm" in last.inner_text()
    assert "not a cell of the board" in last.inner_text()
    # All over the map ERBB2 is 1, a third of the truth's largest or so: one colour, and none beside the map.
    colours = "c => [...new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer))].length"
    assert 1 <= last.locator("canvas").evaluate(colours) <= 4
    page.get_by_label("Genes with maps").select_option("G3")
    assert "istar" not in page.inner_text("#gene-maps")
    page.close()


def test_readings_and_ablations_have_a_view(browser, tmp_path):
    path = tmp_path / "board.html"
    tables = summarise(simple("qca", {"A": 0.3, "B": 0.3}))
    path.write_text(render_page(tables, {}, searched=read_searched(searched(tmp_path))), encoding="utf-8")
    page = browser.new_page()
    page.goto(f"{path.as_uri()}#protocol={tables[0].protocol.hash}&view=readings")
    text = page.inner_text(".searched")
    assert "Readings of qca: 4 of 4" in text
    assert "Chosen: qca[similarity=" in text
    assert "excess 0.0100; the default's is 0.1000, rank 3." in text
    assert UNTRUSTED in text
    assert page.locator(".searched b").all_inner_texts() == ["cosine *", "after *"]  # nothing of a name became markup
    assert "qca better than qca[alignment=none] on pcc_hvg\t1 of 2\tA 2, B 1" in text
    assert "Ablation" in text
    shown = lambda: page.locator(".searched").locator("tbody tr:visible, .claims li:visible").all_inner_texts()  # noqa: E731
    everything = len(shown())
    page.locator("#filter").fill("alignment=NONE hvg")  # claims and verdicts
    assert 2 <= len(shown()) < everything
    assert all("alignment=none" in line and "pcc_hvg" in line for line in shown())
    page.locator("#filter").fill("cosine")
    assert [line.split()[0] for line in shown()] == ["similarity"]
    page.locator("#filter").fill("nothing like it")
    assert shown() == []
    assert "No reading, claim or row matches the filter." in page.inner_text(".searched")
    page.locator("#filter").fill("")
    assert len(shown()) == everything
    page.close()


def test_the_readings_view_has_no_switch_of_rows_and_fits_a_phone(browser, tmp_path):
    long = "qca[" + ",".join(f"a_parameter_{i}=true" for i in range(12)) + "]"
    records = [*simple(long, {"A": 0.3, "B": 0.3}), *simple("mean", {"A": 0.0, "B": 0.0}, kind="control")]
    path = tmp_path / "board.html"
    path.write_text(render_page(summarise(records), {}, searched=read_searched(searched(tmp_path))), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    assert page.get_by_label("controls").is_visible()
    page.get_by_role("button", name="Readings").click()
    assert not page.get_by_label("controls").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    similarity = page.locator(".points tbody tr").first
    assert similarity.evaluate("n => n.getBoundingClientRect().right") <= 390
    page.close()

"""Cells of a small runs folder: what is stored beside a record, what makes it anew, and what verify says of edits."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from qbench.benchmark.downstream.cell import Memory, check, make
from qbench.benchmark.downstream.folder import make_all
from qbench.benchmark.engine.store import hash_folder
from qbench.errors import DataError
from qbench.leaderboard.downstream import (
    FILE,
    StoredDownstream,
    content_hash,
    parquet_metadata,
    read_genes,
    read_stored,
)
from qbench.leaderboard.folder import read_tables, with_downstream
from qbench.leaderboard.record import find_records
from qbench.leaderboard.render import render

from ...support.leaderboard_runs import make_runs

SETS = {"some": ("ERBB2", "G3", "G4", "G5"), "none": ("X", "Y", "Z")}
LABELS = {"her2st": {"A1": {f"{x}x{y}": "cancer" if x < 4 else "fat" for x in range(8) for y in range(6)}}}


def quiet(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    make_runs(runs, {"ridge": 0.9, "mean": 0.0}, patients="AB", sections=1)
    done = make_all(find_records(runs), SETS, LABELS, quiet)
    return runs, done


def rewrite(folder, **changes):
    """Edit what a file says and give it a fitting hash, as a careful forger would."""
    stored, table = read_stored(folder), pq.read_table(folder / FILE)
    frame = read_genes(folder)
    new = StoredDownstream(**{**stored.model_dump(), **changes})
    new = new.model_copy(update={"sha256": content_hash(new, {n: frame[n].to_numpy() for n in frame.columns})})
    pq.write_table(table.replace_schema_metadata(parquet_metadata(new)), folder / FILE)


def test_cells_are_made_once_and_records_stay(made):
    runs, done = made
    assert (done.made, done.read) == (4, 0)
    assert done.notes == ("Gene sets with fewer than three genes in a panel are not scored there: none.",)
    before = {folder: hash_folder(folder) for folder, _ in find_records(runs)}
    again = make_all(find_records(runs), SETS, {}, quiet)  # without the dataset, labels that are stored stay
    assert (again.made, again.read) == (0, 4)
    assert before == {folder: hash_folder(folder) for folder in before}
    labels = {next(iter(read_stored(folder).figures)): read_stored(folder).labels for folder in before}
    assert list(labels["A1"]["A1"][:5]) == ["cancer"] * 4 + ["fat"]
    assert labels["B1"] == {}


def test_other_gene_sets_or_labels_make_them_anew_and_keep_the_labels(made, tmp_path):
    make_runs(tmp_path, {"ridge": 0.9}, patients="A", sections=1)
    assert make_all(find_records(tmp_path), SETS, {}, quiet).made == 1
    assert make_all(find_records(tmp_path), SETS, LABELS, quiet).made == 1
    assert make_all(find_records(tmp_path), {"some": SETS["some"]}, {}, quiet).made == 1
    ((folder, _record),) = find_records(tmp_path)
    assert set(read_stored(folder).labels) == {"A1"}
    (folder / FILE).write_bytes(b"PAR1 no more")
    assert make_all(find_records(tmp_path), SETS, {}, quiet).made == 1


def test_what_is_stored_can_be_read_and_holds(made):
    runs, _ = made
    for folder, record in find_records(runs):
        assert check(folder, record, Memory()) == []
        frame = read_genes(folder)
        assert list(frame.columns[:2]) == ["section", "gene"]
        stored = read_stored(folder)
        ranked = frame["gene"].isin(record.panel["hvg"])
        (figures,) = stored.figures.values()
        assert figures["spearman_hvg"] == pytest.approx(frame["spearman"][ranked].mean())


def test_edits_are_found(tmp_path):
    make_runs(tmp_path, {"ridge": 0.9}, patients="A", sections=1)
    make_all(find_records(tmp_path), SETS, {}, quiet)
    ((folder, record),) = find_records(tmp_path)
    whole = (folder / FILE).read_bytes()
    stored = read_stored(folder)
    better = {**stored.figures["A1"], "spearman_all": 0.99}

    rewrite(folder, figures={"A1": better})
    (said,) = check(folder, record, Memory())
    assert "figures A1 spearman_all is 0.99, computed again" in said
    rewrite(folder, predictions="f" * 64)
    assert "is of other predictions" in check(folder, record, Memory())[0]
    (folder / FILE).write_bytes(whole)
    text = json.dumps({**stored.model_dump(), "figures": {"A1": better}})
    pq.write_table(pq.read_table(folder / FILE).replace_schema_metadata({b"qbench": text.encode()}), folder / FILE)
    assert "sha256 differs" in check(folder, record, Memory())[0]
    (folder / FILE).write_bytes(whole[:-100])
    with pytest.raises(DataError, match="Expected downstream figures in"):
        check(folder, record, Memory())
    (folder / FILE).write_bytes(whole)
    rewrite(folder, packages={"igraph": "0.0"}, figures={"A1": {**stored.figures["A1"], "ari_truth": 0.5}})
    assert check(folder, record, Memory()) == []  # another igraph may part spots otherwise: the hash alone holds them


def test_rows_are_averaged_over_sections_then_patients_beside_the_ranking(made):
    runs, _ = made
    tables, folders = read_tables(runs)
    (table,) = with_downstream(tables, folders)
    ridge, mean = table.row("ridge"), table.row("mean")
    held = {
        section: values
        for folder in map(folders.get, ridge.cells)
        for section, values in read_stored(folder).figures.items()
    }
    assert table.downstream.figure(ridge, "near_hvg").mean == pytest.approx(
        np.mean([held[s]["near_hvg"] for s in ("A1", "B1")])
    )
    assert table.downstream.figure(ridge, "spearman_all").mean > table.downstream.figure(mean, "spearman_all").mean
    assert table.downstream.figure(ridge, "ari_labels").sd_patients is None  # one labelled patient
    assert 0 < table.downstream.ceiling["spearman_all"] < 1
    assert not set(ridge.figures) & {"near_hvg", "spearman_all"}
    data = json.loads(render([table], "json"))["tables"][0]
    assert data["downstream"]["sets"] == ["some", "none"]
    assert data["rows"][0]["downstream"]["far_all"]["mean"] == table.downstream.figure(ridge, "far_all").mean
    assert "downstream_far_all_sd_patients" in render([table], "csv").splitlines()[0]
    assert "### Downstream: PCC by spatial scale" in render([table], "md", detail=True)
    assert json.loads(render(tables, "json"))["tables"][0]["downstream"] is None


def test_a_row_with_a_cell_left_out_is_not_averaged(tmp_path):
    make_runs(tmp_path, {"ridge": 0.9, "mean": 0.0}, patients="AB", sections=1)
    found = find_records(tmp_path)
    make_all([cell for cell in found if cell[0].name != "ridge-A-seed0"], SETS, {}, quiet)
    tables, folders = read_tables(tmp_path)
    (table,) = with_downstream(tables, folders)
    assert table.downstream.figure(table.row("ridge"), "near_all").mean is None
    assert table.downstream.figure(table.row("mean"), "near_all").mean is not None
    assert "ridge: 1 of 2 cells have downstream figures" in table.downstream.notes[0]


def test_methods_of_a_fold_share_what_is_the_truths(made):
    runs, _ = made
    memory = Memory()
    for folder, record in find_records(runs):
        make(folder, record, SETS, {}, memory)
    assert len(memory.known) == 2

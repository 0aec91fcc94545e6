"""The committed board is what its records give, and no number of a committed record changes unseen."""

import copy
import json
import math
import shutil
import sys
from typing import Any

import pytest
from qbench.benchmark.engine.verify import check_record
from qbench.errors import ConfigurationError, IntegrityError
from qbench.leaderboard.committed import AGAIN, DIGESTS, changed, commit, digest, read_committed, stamp
from qbench.leaderboard.record import find_records
from qbench.leaderboard.render import render
from qbench.leaderboard.summarise import summarise

from ..support.leaderboard_runs import make_runs
from ..support.places import ROOT

BOARD = ROOT / "leaderboard"
RECORDS = BOARD / "results"


def test_the_committed_tables_are_those_of_the_records():
    tables = summarise(read_committed(RECORDS))
    assert (BOARD / "LEADERBOARD.md").read_text(encoding="utf-8") == render(tables, "md"), AGAIN


def test_no_committed_record_was_changed():
    assert changed(RECORDS) == []
    assert len((RECORDS / DIGESTS).read_text().splitlines()) == len(read_committed(RECORDS))


def test_committed_records_do_not_contradict_themselves():
    found = {record.cell: check_record(record) for record in read_committed(RECORDS)}
    assert {cell: said for cell, said in found.items() if said} == {}


# A record with every part there is: an encoder, patches, a codebook's method, several sections.
[EXAMPLE] = RECORDS.glob("demo-patient-counts-*/A.jsonl")
LINES = EXAMPLE.read_text(encoding="utf-8").splitlines()
RAW = next(record for line in LINES if (record := json.loads(line))["method"]["label"] == "qca")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value stands; an empty list or object is one."""
    if not isinstance(value, dict | list) or not value:
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, part in items for leaf in leaves(part, (*path, key))]


def other(value: Any) -> Any:
    """The smallest change of a value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):  # a denormal number, next to 0, is 0 where a test before this one flushes them
        return math.nextafter(value, math.inf) if value else sys.float_info.min
    if isinstance(value, str):
        return value + "x"
    return {None: 0, "[]": ["x"], "{}": {"x": 1}}[None if value is None else json.dumps(value)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A board of one record."""
    folder = tmp_path_factory.mktemp("one")
    (folder / "protocol").mkdir()
    (folder / "protocol" / "A.jsonl").write_text(json.dumps(RAW) + "\n")
    stamp(folder)
    assert changed(folder) == []
    return folder


@pytest.mark.parametrize("path", leaves(RAW), ids=lambda path: "/".join(map(str, path)))
def test_a_change_of_any_value_of_a_record_is_noticed(one, path):
    edited = copy.deepcopy(RAW)
    holder = edited
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = other(holder[path[-1]])
    file = one / "protocol" / "A.jsonl"
    file.write_text(json.dumps(edited) + "\n")
    try:
        assert changed(one)
        if path != ("cell",):
            assert changed(one) == [
                f"protocol/A.jsonl:1: not the record that its digest was made of; undo the edit, or {AGAIN}"
            ]
    finally:
        file.write_text(json.dumps(RAW) + "\n")


def test_leaves_are_all_there():
    """The paths of the test above reach figures, hashes and provenance, and one that is taken out is noticed too."""
    paths = leaves(RAW)
    assert len(paths) > 300
    named = {"/".join(map(str, path)) for path in paths}
    assert {"scores/A1/pcc_hvg", "pooled/A/mse", "hashes/predictions", "hashes/scores", "n_genes", "epochs"} <= named
    assert {"fit_seconds", "identity/seed", "panel/hvg/0", "environment/packages/numpy"} <= named
    for path in paths:
        edited = copy.deepcopy(RAW)
        holder = edited
        for key in path[:-1]:
            holder = holder[key]
        del holder[path[-1]]
        assert digest(edited) != digest(RAW)


def test_layout_does_not_matter_and_content_does():
    assert digest(json.loads(json.dumps(RAW, indent=3))) == digest(dict(reversed(RAW.items()))) == digest(RAW)


def test_records_that_come_or_go_are_noticed(one, tmp_path):
    folder = tmp_path / "board"
    shutil.copytree(one, folder)
    with (folder / "protocol" / "A.jsonl").open("a") as file:
        file.write(json.dumps(RAW) + "\n")
    assert any("2 records of one cell" in said for said in changed(folder))
    (folder / "protocol" / "A.jsonl").write_text(json.dumps(RAW) + "\n")
    (folder / DIGESTS).write_text("")
    assert changed(folder) == [f"protocol/A.jsonl:1: no digest of its cell; {AGAIN}"]
    stamp(folder)
    shutil.rmtree(folder / "protocol")
    assert changed(folder) == [f"{RAW['cell']}: a digest without its record; {AGAIN}"]


def test_a_runs_folder_becomes_the_board_and_takes_its_place(tmp_path):
    runs, folder = tmp_path / "runs", tmp_path / "leaderboard" / "results"
    folder.parent.mkdir()
    written = make_runs(runs, {"qca": 0.8, "ridge": 0.5})
    assert commit(runs, folder) == len(written) == 4
    make_runs(runs, {"knn": 0.3})
    assert commit(runs, folder) == 6
    assert changed(folder) == []
    assert {record.method.name for record in read_committed(folder)} == {"qca", "ridge", "knn"}
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".jsonl", ".txt"}
    assert [path.name for path in folder.parent.iterdir()] == ["results"]
    assert sorted(r.cell for r in read_committed(folder)) == sorted(r.cell for _, r in find_records(runs))


def test_a_line_that_is_no_record_is_named_with_its_place(one, tmp_path):
    shutil.copytree(one, tmp_path / "board")
    with (tmp_path / "board" / "protocol" / "A.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(ConfigurationError, match=r"in protocol/A\.jsonl:2, but .* Undo the edit"):
        read_committed(tmp_path / "board")


def test_files_of_the_board_stay_small():
    """A file a fold: what grows with methods and seeds is parted before a repository refuses it."""
    sizes = {path.name: path.stat().st_size for path in RECORDS.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 1_000_000, sizes


def test_a_failed_cell_is_no_result(tmp_path):
    runs = tmp_path / "runs"
    make_runs(runs, {"qca": 0.8})
    path = next(runs.glob("*/*/record.json"))
    record = json.loads(path.read_bytes())
    record["hashes"]["record"] = None  # edited on purpose
    record |= {"status": "failed", "failure": {"type": "MethodError", "message": "no", "traceback": ""}}
    path.write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match="finished cells only"):
        commit(runs, tmp_path / "results")
    assert not (tmp_path / "results").exists()

"""Readings and ablations of a runs folder on the page: as they were written, hostile or damaged."""

import json
from pathlib import Path

import pytest
from qbench.benchmark.sweep import ablation
from qbench.benchmark.sweep.readings_report import as_dict
from qbench.errors import DataError
from qbench.files import write_text
from qbench.leaderboard.page import render_page
from qbench.leaderboard.searched import read_searched, without_table
from qbench.leaderboard.summarise import summarise

from ..benchmark.sweep.test_ablation import ablated
from ..benchmark.sweep.test_readings import measured
from ..support.leaderboard_factory import protocol, simple
from .test_page import data_of

HOSTILE = "</script><b>dot</b>"


def searched(folder: Path) -> Path:
    """A runs folder with a search of readings (whose chosen reading has a hostile name) and an ablation."""
    readings = json.dumps(as_dict(measured(folder))).replace('"dot"', json.dumps(HOSTILE))
    write_text(folder / "sweeps" / "qca-readings" / "readings.json", readings)
    write_text(folder / "ablations" / "qca" / "ablation.json", json.dumps(ablation.as_dict(ablated("AB"))))
    return folder


def test_reports_stand_beside_the_table_of_their_cells_and_hostile_names_stay_data(tmp_path: Path) -> None:
    found = read_searched(searched(tmp_path))
    tables = summarise(simple("qca", {"A": 0.3, "B": 0.3}))
    [(place, (readings, ablated_here))] = found.items()
    assert place == (tables[0].protocol.hash, "fast")
    assert (readings["kind"], readings["chosen"], len(readings["judged"])) == ("readings", 2, 4)
    assert readings["effects"][1]["reading"] == HOSTILE
    assert readings["claims"][0] == {"text": "qca better than qca[alignment=none] on pcc_hvg", "held": 1, "measured": 2,
                                     "patients": {"A": 2, "B": 1}}  # fmt: skip
    assert ablated_here["kind"] == "ablation"
    page = render_page(tables, {}, searched=found)
    assert HOSTILE not in page
    assert data_of(page)["tables"][0]["readings"] == [readings, ablated_here]
    assert without_table(found, tables) == []
    other = summarise(simple("qca", {"A": 0.3}, of=protocol(hash="b" * 64)))
    assert [sentence.split(":")[0] for sentence in without_table(found, other)] == ["qca-readings", "qca"]


@pytest.mark.parametrize("text", ['{"schema": 1', '{"method": "qca"}', "[]"])
def test_a_damaged_report_is_told_and_the_rest_goes_on(tmp_path: Path, text: str) -> None:
    (searched(tmp_path) / "sweeps" / "qca-readings" / "readings.json").write_text(text)
    told: list[str] = []
    [(_, (only,))] = read_searched(tmp_path, told.append).items()
    assert only["kind"] == "ablation"
    assert "readings.json" in told[0]
    assert "run the same command again" in told[0].lower()
    with pytest.raises(DataError, match="a report of 'qbench ablate'"):
        read_searched(tmp_path)

"""Names and labels from where they enter to the tables and folders that they end up in."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from qbench.benchmark.cli.entry import app, main
from qbench.benchmark.predict.maps import write_maps
from qbench.benchmark.sweep.trial import trial_name
from qbench.datasets.cache import ArrayCache
from qbench.datasets.protocol import read_protocol
from qbench.datasets.registry import UNNAMED, SectionInfo, open_dataset, read_card
from qbench.datasets.section import Section
from qbench.errors import ConfigurationError, IntegrityError, QbenchError
from qbench.leaderboard.figures.canvas import new_figure, save
from qbench.leaderboard.record import find_records, read_record
from typer.testing import CliRunner, Result

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image, write_tables, write_visium

LABELS = ("2023/P1", "../../../escaped/P2", "P[3]* ?", "=P4")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QBENCH_DATA", raising=False)


def qbench(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def tables_card(folder: Path, *patients: object) -> Path:
    """A card of one section S1, S2, ... for each patient."""
    entries = []
    for i, patient in enumerate(patients, start=1):
        write_tables(folder, f"S{i}", seed=i)
        entries.append({"id": f"S{i}", "patient": patient, "file": f"S{i}.csv", "spots": f"S{i}_spots.csv"})
    return write_card(folder / "mine.yaml", "tables", entries)


@pytest.mark.slow
def test_patients_of_any_label_are_in_every_table_and_nothing_lies_outside(tmp_path: Path) -> None:
    tables_card(tmp_path / "a" / "b", *LABELS)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    card, out = "a/b/mine.yaml", "a/b/c/runs"
    ran = qbench("run", "-m", "mean", "--no-images", "--dataset", card, "--out", out, "--json", "-q")
    assert ran.exit_code == 0, ran.output
    (table,) = json.loads(ran.stdout)["tables"]
    assert [(row["n_patients"], row["n_folds"], row["complete"]) for row in table["rows"]] == [(4, 4, True)]
    assert sorted(table["folds"]) == sorted(LABELS)
    assert json.loads(qbench("leaderboard", out, "--format", "json").stdout)["tables"] == [table]
    verified = json.loads(qbench("verify", out, "--json").stdout)
    assert (verified["cells"], verified["failed"], verified["problems"]) == (4, 0, [])
    again = qbench("run", "-m", "mean", "--no-images", "--dataset", card, "--out", out, "--dry-run", "--json")
    assert {cell["state"] for cell in json.loads(again.stdout)["cells"]} == {"cached"}
    new = {path for path in tmp_path.rglob("*") if "cache" not in path.parts} - before
    runs = tmp_path / out
    assert all(path.is_relative_to(runs) or path in runs.parents for path in new)
    assert {record.fold.name for _, record in find_records(runs)} == set(LABELS)
    assert len(list(runs.glob("*/*/record.json"))) == len(list(runs.rglob("record.json"))) == 4


@pytest.mark.slow
def test_a_cell_that_changed_is_found_whatever_its_patient(tmp_path: Path) -> None:
    card = tables_card(tmp_path, "P[1]", "P?2")
    common = ["run", "-m", "mean", "--no-images", "--dataset", str(card), "--out", "runs", "--sections", "S1,S2"]
    assert qbench(*common, "-q").exit_code == 0
    cells = json.loads(qbench(*common, "--select", "pcc", "--dry-run", "--json").stdout)["cells"]
    assert {cell["state"] for cell in cells} == {"to do"}
    assert all("select" in cell["reason"] for cell in cells)


def test_tables_for_spreadsheets_begin_no_formula(tmp_path: Path) -> None:
    card = tables_card(tmp_path, *LABELS)
    assert qbench("protocol", "export", "--no-images", "--dataset", str(card), "--to", "splits").exit_code == 0
    for name in ("folds.csv", "panels.csv"):
        with (tmp_path / "splits" / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
        assert "'=P4" in {cell for row in rows for cell in row}


def test_what_is_exported_is_scored_when_spots_look_like_formulas(tmp_path: Path) -> None:
    card = tables_card(tmp_path, "P1", "P2", "P3")
    for i in (1, 2, 3):
        for path in (tmp_path / f"S{i}.csv", tmp_path / f"S{i}_spots.csv"):
            path.write_text(path.read_text().replace("spot", "=spot").replace("=spot,", "spot,"))
    given = ["--no-images", "--dataset", str(card)]
    assert qbench("protocol", "export", *given, "--to", "splits").exit_code == 0
    folds, panels = pd.read_csv("splits/folds.csv"), pd.read_csv("splits/panels.csv")
    assert folds["spot"].str.startswith("'=spot").all()
    tested = folds[folds["role"] == "test"].merge(panels[["fold", "gene"]], on="fold")
    tested.assign(prediction=0.5)[["section", "spot", "gene", "prediction"]].to_csv("mine.csv", index=False)
    scored = qbench("score", "mine.csv", *given, "--name", "my model 1", "--json")
    assert scored.exit_code == 0, scored.output
    assert [row["n_patients"] for row in json.loads(scored.stdout)["tables"][0]["rows"]] == [3]


@pytest.mark.parametrize("name", ["../x", "a/b", "=cmd|x!A1", "mi\x1b]0;PWNED\x07ne", "x" * 101, ".", "  "])
def test_what_may_be_no_name_is_refused_where_it_enters(tmp_path: Path, name: str) -> None:
    card = tables_card(tmp_path, "P1", "P2")
    held = yaml.safe_load(card.read_text())
    protocol = {"name": "mine", "title": "Mine", "held_out": "groups", "unit": "section"}
    group = {"name": "one", "test": ["S1"]}
    write_card(tmp_path / "dataset.yaml", "tables", held["sections"], name=name)
    write_card(tmp_path / "section.yaml", "tables", [{**held["sections"][0], "id": name}])
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump({**protocol, "name": name, "folds": [group]}))
    (tmp_path / "group.yaml").write_text(yaml.safe_dump({**protocol, "folds": [{**group, "name": name}]}))
    (tmp_path / "p.csv").write_text("section,spot,gene,prediction\n")
    asked = [
        ["run", "-m", "mean", "--dry-run", "--dataset", "dataset.yaml"],
        ["run", "-m", "mean", "--dry-run", "--dataset", "section.yaml"],
        ["run", "-m", "mean", "--dry-run", "--no-images", "--dataset", "mine.yaml", "--protocol", "protocol.yaml"],
        ["run", "-m", "mean", "--dry-run", "--no-images", "--dataset", "mine.yaml", "--protocol", "group.yaml"],
        ["score", "p.csv", "--name", name],
        ["data", "add", ".", "--name", name],
    ]
    for arguments in asked:
        error = qbench(*arguments).exception
        assert isinstance(error, ConfigurationError), (arguments, error)
        assert "Expected the name of " in str(error)
        assert str(error).isprintable()
    with pytest.raises(ConfigurationError, match="name of a section to be"):
        SectionInfo(name, "P1", None, False, "")


def test_names_of_files_are_names_of_sections(tmp_path: Path) -> None:
    write_tables(tmp_path / "tables", "S(1)")
    write_visium(tmp_path / "visium" / "S@1" / "outs")
    write_h5ad(tmp_path / "h5ad" / "=1.h5ad", spatial=grid())
    write_h5ad(tmp_path / "hest" / "st" / "T+1.h5ad", spatial=grid())
    for name, found in (("tables", "S(1)"), ("visium", "S@1"), ("h5ad", "=1"), ("hest", "T+1")):
        error = qbench("data", "add", name, "--name", "mine").exception
        assert isinstance(error, ConfigurationError)
        assert f"found '{found}'; rename it" in str(error)
    assert not (tmp_path / "mine.yaml").exists()


def test_control_characters_are_refused_in_labels_and_shown_in_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    card = tables_card(tmp_path, "P1\x1b[2J", "P2")
    with pytest.raises(ConfigurationError, match=r"name of a patient without control .* found 'P1\\x1b\[2J'"):
        read_card(card)
    write_tables(tmp_path, "S9")
    path = tmp_path / "S9.csv"
    path.write_text(path.read_text().replace(",ERBB2", ",ERBB2\x1b[31m"))
    write_card(card, "tables", [{"id": "S9", "file": "S9.csv", "spots": "S9_spots.csv"}])
    with pytest.raises(QbenchError, match=r"gene of section S9 without control .* found 'ERBB2\\x1b\[31m'"):
        open_dataset(str(card), None, ArrayCache()).load("S9")
    monkeypatch.setattr("sys.argv", ["qbench", "run", "--dry-run", "-m", "x\x1b]0;P\x07"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = capfd.readouterr().err
    assert "'x\\x1b]0;P\\x07'" in said
    assert "\x07" not in said
    assert "\x1b]0" not in said


def test_a_record_with_control_characters_in_a_name_is_none(tmp_path: Path) -> None:
    card = tables_card(tmp_path, "P1", "P2")
    assert qbench("run", "-m", "mean", "--no-images", "--dataset", str(card), "--out", "runs", "-q").exit_code == 0
    path = sorted((tmp_path / "runs").glob("*/*/record.json"))[0]
    record = json.loads(path.read_text())
    record["protocol"]["dataset"] = "mi\x1b[31mne"
    path.write_text(json.dumps(record))
    with pytest.raises(
        ConfigurationError, match=r"protocol.dataset: .*without control characters, found 'mi\\x1b\[31mne'"
    ):
        read_record(path)


def test_a_protocol_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes("name: m\xfcnster\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"^Expected a protocol in p.yaml, but it cannot be read"):
        read_protocol("p.yaml")


def test_figures_maps_and_trials_of_any_label_are_files_in_their_folder(tmp_path: Path) -> None:
    paths = save(new_figure(1, 1), tmp_path / "figures", "distribution-HLA/A") + save(
        new_figure(1, 1), tmp_path / "figures", "distribution-HLA-A"
    )
    assert [path.name for path in paths if path.suffix == ".png"] == [
        "distribution-HLA%2FA.png",
        "distribution-HLA-A.png",
    ]
    assert trial_name("../P1", 3) == "%2E.%2FP1-003"
    spatial = {
        "images": {"hires": np.zeros((8, 8, 3), dtype=np.uint8)},
        "scalefactors": {"tissue_hires_scalef": 1.0, "spot_diameter_fullres": 2.0},
    }
    slide = anndata.AnnData(
        np.ones((2, 1), dtype=np.float32),
        var=pd.DataFrame(index=["KRT6A/B/C"]),
        uns={"spatial": {"slide": spatial}, "target": "counts", "qbench": {"method": "mean"}},
        obsm={"spatial": np.array([[1.0, 1.0], [5.0, 5.0]])},
    )
    slide.write_h5ad(tmp_path / "o.h5ad")
    assert [path.name for path in write_maps(tmp_path / "o.h5ad", ["KRT6A/B/C"])] == ["o-KRT6A%2FB%2FC.png"]
    assert (tmp_path / "o-KRT6A%2FB%2FC.png").stat().st_size > 0


def refused(card: Path, *sections: str, patients: tuple[str, ...]) -> None:
    """The patient protocol is refused, naming the sections; the dataset says who is named."""
    found = open_dataset(str(card), None, ArrayCache())
    assert tuple(info.patient for info in found.sections) == patients
    error = qbench("run", "-m", "mean", "--no-images", "--dataset", str(card), "--dry-run").exception
    assert isinstance(error, IntegrityError), error
    assert error.exit_code == 3
    assert f"no patient is named for {', '.join(sections)}; name the patients in the dataset's card" in str(error)


@pytest.mark.parametrize("nobody", [None, "", "  ", float("nan"), "NaN", "NA", "n/a", "None", "NULL"])
def test_nobody_in_a_card(tmp_path: Path, nobody: object) -> None:
    card = tables_card(tmp_path, " P1 ", nobody, "P3")
    refused(card, "S2", patients=("P1", UNNAMED, "P3"))


def test_nobody_in_obs_of_an_h5ad(tmp_path: Path) -> None:
    columns: list[Any] = [
        ["P1 "] * 12,
        [np.nan] * 12,
        ["NA"] * 12,
        ["P1"] * 11 + [None],
        pd.array([pd.NA] * 12, dtype="Int64"),
        [3.0] * 12,
    ]
    for i, column in enumerate(columns, start=1):
        obs = pd.DataFrame({"patient": column}, index=[f"spot{k}" for k in range(12)])
        write_h5ad(tmp_path / "data" / f"S{i}.h5ad", counts(seed=i), spatial=grid(), obs=obs)
    assert qbench("data", "add", "data", "--name", "mine", "-q").exit_code == 0
    refused(tmp_path / "mine.yaml", "S2, S3, S4, S5", patients=("P1", UNNAMED, UNNAMED, UNNAMED, UNNAMED, "3"))


def test_nobody_in_a_table_of_patients(tmp_path: Path) -> None:
    for i in (1, 2, 3, 4):
        write_tables(tmp_path / "data", f"S{i}", seed=i)
    (tmp_path / "patients.csv").write_text("section,patient\nS1, P1 \nS2,N/A\nS3,\nS4,null\n")
    assert qbench("data", "add", "data", "--name", "mine", "--patients", "patients.csv", "-q").exit_code == 0
    refused(tmp_path / "mine.yaml", "S2, S3, S4", patients=("P1", UNNAMED, UNNAMED, UNNAMED))


def test_a_visium_section_is_nobodys_until_the_card_names_a_patient(tmp_path: Path) -> None:
    write_visium(tmp_path / "data" / "S1" / "outs")
    write_visium(tmp_path / "data" / "S2" / "outs", seed=2)
    assert qbench("data", "add", "data", "--name", "mine", "-q").exit_code == 0
    refused(tmp_path / "mine.yaml", "S1, S2", patients=(UNNAMED, UNNAMED))


def hest(folder: Path, samples: dict[str, dict[str, object]]) -> None:
    (folder / "metadata").mkdir(parents=True)
    for i, (name, metadata) in enumerate(samples.items()):
        write_h5ad(folder / "st" / f"{name}.h5ad", counts(seed=i), spatial=grid())
        write_image(folder / "wsis" / f"{name}.tif", seed=i)
        text = json.dumps({"id": name, "pixel_size_um_estimated": 0.5, **metadata})
        (folder / "metadata" / f"{name}.json").write_text(text)


def test_a_hest_patient_is_study_and_label(tmp_path: Path) -> None:
    hest(
        tmp_path / "in",
        {
            "A1": {"dataset_title": "Study One", "patient": "Patient 1"},
            "A2": {"dataset_title": "Study One", "patient": " Patient 1"},
            "B1": {"dataset_title": "Study Two: 10/x", "patient": "Patient 1"},
        },
    )
    assert qbench("data", "add", "in", "--name", "x", "-q").exit_code == 0
    found = open_dataset("x.yaml", None, ArrayCache())
    one = "Study One - Patient 1"
    assert [info.patient for info in found.sections] == [one, one, "Study Two: 10/x - Patient 1"]
    cells = json.loads(qbench("run", "-m", "mean", "--no-images", "--dataset", "x.yaml", "--dry-run", "--json").stdout)[
        "cells"
    ]
    assert [cell["fold"] for cell in cells] == [one, "Study Two: 10/x - Patient 1"]
    assert all(os.sep not in cell["cell"] for cell in cells)


def test_nobody_in_the_metadata_of_hest(tmp_path: Path) -> None:
    hest(
        tmp_path / "in",
        {
            "FLDX1": {"dataset_title": "Study One", "patient": float("nan")},
            "FLDX2": {"dataset_title": "Study Two", "patient": "   "},
            "FLDX3": {"dataset_title": "Study Three", "patient": "Patient 1"},
            "FLDX4": {"patient": "Patient 1"},
        },
    )
    added = qbench("data", "add", "in", "--name", "x")
    assert "No patient is named for FLDX1, FLDX2, FLDX4" in " ".join(added.output.split())
    refused(tmp_path / "x.yaml", "FLDX1, FLDX2, FLDX4", patients=(UNNAMED, UNNAMED, "Study Three - Patient 1", UNNAMED))


def test_nobody_from_any_reader() -> None:
    assert SectionInfo("S1", "nan", None, False, "").patient == UNNAMED
    assert SectionInfo("S1", " P1 ", None, False, "").patient == "P1"
    section = Section("S1", "N/A", counts(), tuple("ABCDEF"), tuple(map(str, range(12))), grid())
    assert section.patient == UNNAMED
    data = section.to_anndata()
    assert Section.from_anndata(data).patient == UNNAMED
    data.obs["patient"] = ["P1"] * 11 + [np.nan]
    with pytest.raises(QbenchError, match="names no single patient"):
        Section.from_anndata(data)
    data.obs["section"] = np.nan
    with pytest.raises(QbenchError, match="names no single section"):
        Section.from_anndata(data, patient="P1")


def test_a_file_of_a_strange_name_is_one_visible_line(tmp_path: Path) -> None:
    name = "a\n\x1b[2J\u202eb.h5ad"
    (tmp_path / name).write_bytes(b"none")
    card = write_card(tmp_path / "mine.yaml", "h5ad", [{"id": "S1", "patient": "P1", "file": name}])
    done = CliRunner().invoke(app, ["data", "verify", str(card)])
    assert done.exit_code == 2
    [line] = [line for line in done.output.splitlines() if "Expected" in line]
    assert r"a\n\x1b[2J\u202eb.h5ad" in line
    assert "\x1b[2J" not in done.output

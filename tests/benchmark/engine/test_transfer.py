"""Train on one dataset, test on another: the fold, the panel, the identity, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from qbench.benchmark.cli.entry import app
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.panels import open_panel
from qbench.benchmark.engine.plan import Plan, make_plan
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.settings import RunSettings
from qbench.datasets.cache import ArrayCache
from qbench.errors import ConfigurationError, IntegrityError
from qbench.leaderboard.record import find_records
from typer.testing import CliRunner

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image

FIRST = {"S1": "A", "S2": "B", "S3": "C", "S4": "C"}
SECOND = {"T1": "P", "T2": "Q"}


def write(folder: Path) -> Path:
    """Cards first.yaml and second.yaml; the sections of the second lack the first gene and have one of their own."""
    for start, (name, patients) in enumerate({"first": FIRST, "second": SECOND}.items()):
        entries = []
        for i, (section, patient) in enumerate(patients.items()):
            path = write_h5ad(folder / f"{section}.h5ad", counts(seed=10 * start + i) + 20, spatial=grid())
            if name == "second":
                data = anndata.read_h5ad(path)
                data.var_names = ["OTHER", *data.var_names[1:]]
                data.write_h5ad(path)
            write_image(folder / f"{section}.png", seed=10 * start + i)
            entries.append(
                {"id": section, "patient": patient, "file": path.name, "image": f"{section}.png", "pixel_scale": 1}
            )
        card = write_card(folder / f"{name}.yaml", "h5ad", entries, markers={"tumour": ["ERBB2", "KRT19"]})
        values = yaml.safe_load(card.read_text())
        card.write_text(yaml.safe_dump(values | {"name": name}, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("written") / "data")


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "data")


def options(data: Path, **changes: Any) -> RunSettings:
    given = {
        "methods": ("mean",),
        "dataset": str(data / "first.yaml"),
        "test_on": str(data / "second.yaml"),
        "no_images": True,
        "out": data.parent / "runs",
    }
    return RunSettings.model_validate({**given, **changes})


def plan(data: Path, **changes: Any) -> Plan:
    return make_plan(options(data, **changes))


def edit(path: Path, change: Any) -> None:
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card, sort_keys=False))


def test_all_of_the_first_trains_the_last_patient_validates_and_the_second_is_tested(data: Path) -> None:
    made = plan(data)
    [fold] = made.ground.settled.folds
    sides = {side: [(p.section, p.portion) for p in getattr(fold, side)] for side in ("train", "validation", "test")}
    assert sides == {
        "train": [("S1", "all"), ("S2", "all")],
        "validation": [("S3", "all"), ("S4", "all")],
        "test": [("T1", "all"), ("T2", "all")],
    }
    assert (made.protocol.name, made.protocol.dataset, made.protocol.test_dataset) == ("transfer", "first", "second")
    assert not made.ground.settled.leaky
    within = make_plan(options(data, test_on=None))
    assert "test_dataset" not in within.protocol.model_dump(mode="json")
    assert "transfer" not in within.cells[0].task.identity["rules"]
    assert within.protocol.hash != made.protocol.hash


def test_one_of_two_patients_is_not_enough_so_that_the_last_section_validates(data: Path) -> None:
    [fold] = plan(data, sections=("S1", "S3", "S4")).ground.settled.folds
    assert [[p.section for p in getattr(fold, side)] for side in ("train", "validation", "test")] == [
        ["S1", "S3"],
        ["S4"],
        ["T1", "T2"],  # no section of it is named, so that all are tested
    ]
    [fold] = plan(data, sections=("S1", "T2")).ground.settled.folds
    assert [(p.section, p.portion) for p in (*fold.train, *fold.validation, *fold.test)] == [
        ("S1", "near"),
        ("S1", "far"),
        ("T2", "all"),
    ]
    with pytest.raises(ConfigurationError, match="no section of first or second named 'S9'"):
        plan(data, sections=("S9",))


def test_the_panel_is_of_the_genes_that_both_have_and_of_the_training_counts_alone(data: Path) -> None:
    def panel() -> tuple[str, ...]:
        made = plan(data)
        return open_panel(made.dataset, made.ground.settled.folds[0], ArrayCache()).genes

    first, second = (anndata.read_h5ad(data / f"{name}.h5ad") for name in ("S1", "T1"))
    before = panel()
    assert set(before) == set(first.var_names) & set(second.var_names)
    assert "OTHER" not in before
    second.X[2, 3] += 500
    second.write_h5ad(data / "T1.h5ad")
    assert panel() == before


def test_the_identity_holds_what_both_datasets_hold(data: Path) -> None:
    before = plan(data)
    identity = before.cells[0].task.identity
    assert {*identity["fold"]["train"], *identity["fold"]["test"]} == {"S1", "S2", "T1", "T2"}
    assert identity["rules"]["transfer"] == 1
    for section in ("S1", "T2"):
        found = anndata.read_h5ad(data / f"{section}.h5ad")
        found.X[2, 1] += 1
        found.write_h5ad(data / f"{section}.h5ad")
        after = plan(data)
        assert after.protocol.hash != before.protocol.hash
        assert after.cells[0].task.cell != before.cells[0].task.cell
        before = after


def test_a_patient_of_both_is_refused_and_so_are_the_spots_of_one_under_two_names(data: Path) -> None:
    edit(data / "second.yaml", lambda card: card["sections"][0].update(patient="B"))
    with pytest.raises(IntegrityError, match="Patients B are in first and in second") as refused:
        plan(data)
    assert refused.value.exit_code == 3
    edit(data / "second.yaml", lambda card: card["sections"][0].update(patient="P"))
    whole = anndata.read_h5ad(data / "T1.h5ad")
    copied = anndata.read_h5ad(data / "S2.h5ad")[::-1].copy()  # another order, file and image
    copied.obs_names = whole.obs_names
    copied.obsm["spatial"] = whole.obsm["spatial"]
    copied.write_h5ad(data / "T1.h5ad")
    with pytest.raises(IntegrityError, match=r"hold the same spots: 12 of the 12") as refused:
        plan(data)
    assert refused.value.exit_code == 3


def test_patients_that_two_public_datasets_name_otherwise_are_refused(data: Path) -> None:
    """As of ST-Net and HER2ST, of which four patients are the same under other names."""
    edit(data / "first.yaml", lambda card: card["sections"][0].update(patient="BC23567"))
    edit(data / "second.yaml", lambda card: card["sections"][1].update(patient="F"))
    with pytest.raises(
        IntegrityError, match=r"patient BC23567 \(train\) of stnet may be patient F \(test\) of her2st"
    ) as refused:
        plan(data)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": "section"}, "has a protocol of its own, 'transfer', found --protocol section"),
        ({"protocol": "transfer", "test_on": None}, "tests on another dataset; name it with --test-on"),
        ({"test_on": "{data}/first.yaml"}, "Expected another dataset in --test-on than in --dataset, found first"),
    ],
)
def test_what_is_asked_for_must_be_clear(data: Path, changes: dict[str, Any], words: str) -> None:
    given = {k: v.format(data=data) if isinstance(v, str) else v for k, v in changes.items()}
    with pytest.raises(ConfigurationError, match=words):
        plan(data, **given)


def test_sections_of_one_name_are_refused(data: Path) -> None:
    edit(data / "second.yaml", lambda card: card["sections"][0].update(id="S1"))
    with pytest.raises(ConfigurationError, match="under different names, found S1 in both"):
        plan(data)


def test_export_verify_and_the_boards_know_it(data: Path) -> None:
    for cell in plan(data, methods=("mean", "coordinates")).cells:
        assert run_cell(cell.task).status == "done"
    runs = data.parent / "runs"
    assert verify(runs).problems == ()
    asked = ["--dataset", str(data / "first.yaml"), "--test-on", str(data / "second.yaml"), "--no-images"]
    found = CliRunner().invoke(app, ["protocol", "export", "--to", str(data / "splits"), *asked])
    assert found.exit_code == 0, found.output
    folds = pd.read_csv(data / "splits/folds.csv")
    assert set(folds["fold"]) == {"second"}
    assert folds.groupby("section")["role"].first().to_dict() == {
        "S1": "train", "S2": "train", "S3": "validation", "S4": "validation", "T1": "test", "T2": "test",
    }  # fmt: skip
    shown = CliRunner().invoke(app, ["leaderboard", str(runs), "--json"])
    [table] = json.loads(shown.stdout)["tables"]
    assert (table["protocol"], table["dataset"], table["test_dataset"]) == ("transfer", "first", "second")
    assert {row["n_patients"] for row in table["rows"]} == {2}
    # The test side moved to another dataset's name in the record is seen.
    (place,) = runs.glob("*/mean-*")
    record = json.loads((place / "record.json").read_text())
    record["protocol"]["test_dataset"] = "third"
    (place / "record.json").write_text(json.dumps(record))
    assert any("protocol is not the one" in p.message for p in verify(runs).problems)


@pytest.mark.slow
@pytest.mark.parametrize("stain", ["none", "grey"])
def test_a_model_fitted_on_one_predicts_the_other_as_the_run_does(data: Path, stain: str) -> None:
    """`fit`, `predict --dataset` and `score` give the figures of the run, to the last bit; `reproduce` finds it again."""
    both = ["--dataset", str(data / "first.yaml"), "--test-on", str(data / "second.yaml")]

    def do(*words: str) -> str:
        found = CliRunner().invoke(app, list(words))
        assert found.exit_code == 0, found.output
        return found.output

    runs, model, output = str(data / "runs"), str(data / "model"), str(data / "there.h5ad")
    do("run", "-m", "colour", *both, "--out", runs, "-q", "--stain", stain)
    do("fit", "colour", *both, "--to", model, "-q", "--stain", stain)
    do("predict", "--model", model, "--dataset", str(data / "second.yaml"), "--output", output)
    do("score", output, "--name", "again", *both, "--out", runs, "-q")
    records = {record.method.name: record for _, record in find_records(Path(runs))}
    assert records["colour"].hashes.predictions == records["again"].hashes.predictions
    assert records["colour"].scores == records["again"].scores
    assert np.isfinite([values["pcc_hvg"] for values in records["again"].scores.values()]).all()
    (place,) = Path(runs).glob("*/colour-*")
    said = do("reproduce", str(place), *both)
    assert "equal" in said

"""The plan: which sections take part, what leaks, and why a cell must run; on a tiny dataset, nothing trained."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from qbench.benchmark.engine import runs_folder
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.reporter import Quiet
from qbench.benchmark.engine.run import execute
from qbench.benchmark.engine.verify import verify
from qbench.benchmark.external.export import export_protocol
from qbench.benchmark.settings import RunSettings
from qbench.datasets.folds import BOARD
from qbench.errors import ConfigurationError, IntegrityError
from qbench.leaderboard.record import read_record
from qbench.methods import machine
from rich.console import Console

from ...support.tiny_her2st import make


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make(tmp_path_factory.mktemp("tiny"))
    (folder / "ST-imgs" / "A" / "A2" / "A2_HE.jpg").unlink()
    return folder


def options(data: Path, **changes: object) -> RunSettings:
    return RunSettings.model_validate({"methods": ("colour",), "dataset": "her2st", "data_dir": data, **changes})


def test_sections_without_an_image_are_left_out_and_named(data: Path) -> None:
    plan = make_plan(options(data))
    assert plan.protocol.sections == ("A1", "B1", "B2", "C1", "D1")
    assert any("A2" in note for note in plan.notes)
    every = make_plan(options(data, methods=("mean",), no_images=True))
    assert "A2" in every.protocol.sections
    assert every.protocol.hash != plan.protocol.hash


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sections": ("A2", "B1")}, "A2 .* no image"),
        ({"sections": ("B7",)}, "Did you mean 'B"),
        ({"no_images": True}, "colour reads images"),
        ({"sections": ("B1", "B2")}, "at least two"),
        ({"methods": ()}, "--methods"),
        ({"methods": ("colr",)}, "Did you mean 'colour'"),
        ({"protocol": "patients"}, "Did you mean 'patient'"),
        ({"protocol": "spared"}, "lists G, H"),
    ],
)
def test_bad_input_is_one_sentence(data: Path, changes: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make_plan(options(data, **changes))


@pytest.mark.parametrize("protocol", ["section", "spots-held-out"])
def test_a_leaky_protocol_needs_to_be_allowed(data: Path, protocol: str) -> None:
    with pytest.raises(IntegrityError, match="--allow-leaky") as caught:
        make_plan(options(data, protocol=protocol))
    assert caught.value.exit_code == 3
    plan = make_plan(options(data, protocol=protocol, allow_leaky=True))
    assert len(plan.cells) == 5
    assert all(cell.task.leaky for cell in plan.cells)


@pytest.mark.slow
def test_a_run_with_spots_held_out_scores_the_held_spots_and_verifies(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    asked = options(data, methods=("mean",), protocol="spots-held-out", allow_leaky=True, out=out)
    execute(make_plan(asked), Quiet(Console(stderr=True)))
    records = [read_record(path) for path in sorted(out.glob("*/*/record.json"))]
    assert len(records) == 5
    for record in records:
        held = record.identity["fold"]
        (section,) = held["test"]
        assert [held[side][section]["portion"] for side in ("train", "validation", "test")] == list(BOARD)
        assert record.scores[section]["n_spots"] == held["test"][section]["spots"] == 12
    assert not verify(out).problems


def test_a_protocol_file_that_puts_a_section_on_two_sides_is_stopped(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{name: mine, title: t, held_out: groups, unit: patient, folds: [{name: X, test: [A], validation: [A, B]}]}"
    )
    with pytest.raises(IntegrityError, match="leaks"):
        make_plan(options(data, protocol=str(file)))


def test_a_patient_split_over_two_sides_by_a_protocol_file_is_leaky(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "{name: mine, title: t, held_out: groups, unit: section, folds: [{name: X, test: [B1], validation: [C1]}]}"
    )
    with pytest.raises(IntegrityError, match="--allow-leaky"):
        make_plan(options(data, protocol=str(file)))


def test_what_changed_is_named(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    execute(make_plan(options(data, methods=("mean",), out=out)), Quiet(Console(stderr=True)))
    again = make_plan(options(data, methods=("mean",), out=out))
    assert {cell.state for cell in again.cells} == {"cached"}
    changed = make_plan(options(data, methods=("mean",), out=out, select="pcc"))
    assert {(cell.state, cell.reason) for cell in changed.cells} == {("to do", "changed: select was mse, is pcc")}


def test_a_plan_reads_each_record_once_and_none_that_no_cell_asks_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    labels = tuple(f"ridge[alpha={i}]" for i in range(1, 6))
    made = make_plan(options(data, methods=("mean",), out=out))
    execute(made, Quiet(Console(stderr=True)))
    template = read_record(made.cells[0].task.folder / "record.json")
    for cell in make_plan(options(data, methods=labels, out=out)).cells:  # records as if those had run
        task = cell.task
        method = template.method.model_copy(update={"name": "ridge", "label": task.method})
        fold = template.fold.model_copy(update={"name": task.fold.name})
        changes = {"cell": task.cell, "identity": task.identity, "method": method, "fold": fold}
        task.folder.mkdir()
        record = template.model_copy(update=changes)
        (task.folder / "record.json").write_text(record.model_dump_json(by_alias=True))
    read: list[Path] = []
    monkeypatch.setattr(runs_folder, "read_record", lambda path: read.append(path) or read_record(path))

    cached = make_plan(options(data, methods=labels, out=out))
    assert {cell.state for cell in cached.cells} == {"cached"}
    assert len(read) == len(set(read)) == len(cached.cells) == 20
    read.clear()
    pending = make_plan(options(data, methods=labels, out=out, select="pcc"))
    assert {cell.reason for cell in pending.cells} == {"changed: select was mse, is pcc"}
    assert len(read) == len(set(read)) == 20, "twenty cells have five siblings each, and every record is read once"
    read.clear()
    assert {cell.reason for cell in make_plan(options(data, methods=("knn",), out=out)).cells} == {"new"}
    assert read == [], "records of other methods are not opened"


def test_long_training_of_a_backbone_is_planned_compiled_and_known_by_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_compiler", lambda: True)

    def steps(epochs: int, **changes: object) -> tuple[set[str], set[str]]:
        method = f"bleep[epochs={epochs}]"
        plan = make_plan(
            options(data, methods=(method, "ridge"), profile="paper", encoder_weights=("random",), **changes)
        )
        tuned = [cell.task for cell in plan.cells if cell.task.method == method]
        assert all(cell.task.steps == "eager" for cell in plan.cells if cell.task.method == "ridge")
        assert {task.identity["backbone"]["runtime"] for task in tuned} == {task.steps for task in tuned}
        return {task.steps for task in tuned}, {task.cell for task in tuned}

    least = min(len(cell.task.fold.train) for cell in make_plan(options(data)).cells)
    enough = -(-machine.COMPILE_FROM // least)
    assert steps(enough - 1)[0] == {"eager"}
    assert steps(enough)[0] == {"compiled"}
    assert steps(enough, precision="bf16")[0] == {"eager"}
    assert steps(enough, max_epochs=1)[0] == {"eager"}
    by_hand, automatic = steps(enough, runtime="eager"), steps(enough)
    assert by_hand[0] == {"eager"}
    assert not by_hand[1] & automatic[1], "another arithmetic is another cell"


def test_an_exported_protocol_covers_every_spot_once_per_fold(data: Path, tmp_path: Path) -> None:
    settled, _, n_folds = export_protocol(options(data), tmp_path)
    with (tmp_path / "folds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert n_folds == 4
    for fold in "ABCD":
        own = [(row["section"], row["spot"]) for row in rows if row["fold"] == fold]
        assert len(own) == len(set(own)) == 25 * len(settled.sections)
        sides = {row["section"][0]: row["role"] == "test" for row in rows if row["fold"] == fold}
        assert [patient for patient, test in sides.items() if test] == [fold]
    with (tmp_path / "panels.csv").open() as file:
        panel = [row for row in csv.DictReader(file) if row["fold"] == "A"]
    assert [int(row["rank"]) for row in panel if row["rank"]] == list(range(60))
    assert sum(row["HVG"] == "1" for row in panel) == 50
    assert {row["gene"] for row in panel if row["MG"] == "1"} == {"ERBB2", "GNAS", "FASN", "VWF"}

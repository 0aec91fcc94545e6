"""What reaches a method, side by side: a method that logs all it sees, on data whose every spot can be told apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from qbench.benchmark.engine import run as run_module
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.plan import make_plan
from qbench.benchmark.engine.reporter import Quiet
from qbench.benchmark.engine.reproduce import reproduce
from qbench.benchmark.engine.run import execute
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.settings import RunSettings
from qbench.benchmark.sweep import ablation as ablate
from qbench.errors import MethodError
from qbench.leaderboard.reported import Claim, ReportedRow, read_reported
from rich.console import Console

from ...support import spy_data
from ...support.places import SUPPORT
from ...support.spied import ALL, FAR, NEAR, Side, hold_cells, hold_fit, hold_predict, hold_reach, hold_side, logged
from ...support.spy_data import panel, target

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spy_data.write(tmp_path_factory.mktemp("spied"))


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    """The plug-in; its log is of one test alone."""
    return Path(shutil.copy(SUPPORT / "spy_method.py", tmp_path / "spy.py"))


def options(card: Path, spy: Path, **changes: Any) -> RunSettings:
    given = {"methods": ("spy",), "dataset": str(card), "out": spy.parent / "runs", "plugin": (f"{spy}:Spy",)}
    return RunSettings.model_validate({**given, **changes})


def quiet() -> Quiet:
    return Quiet(Console(stderr=True))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells in this process; that theirs gets what it is sent is the tests' of `reproduce` and of the sweep to say."""
    monkeypatch.setattr(run_module, "run_apart", lambda task, _event: run_cell(task))


@pytest.mark.usefixtures("at_once")
def test_run_gives_each_side_its_own_spots_and_the_test_side_to_nobody(card: Path, spy: Path) -> None:
    records = execute(make_plan(options(card, spy)), quiet())
    hold_cells(spy, ["A", "B", "C", "D"], records)


def test_a_section_split_between_training_and_validation(card: Path, spy: Path) -> None:
    plan = make_plan(options(card, spy, sections="C1,D1"))
    run_cell(plan.cells[0].task)
    (fit,), (predicted,) = logged(spy, "fit"), logged(spy, "predict")
    genes = panel([("D1", NEAR)])
    assert genes != panel([("D1", ALL)]), "the far spots would choose another panel"
    hold_side(fit["train"], [("D1", NEAR)], genes)
    hold_side(fit["validation"], [("D1", FAR)], genes)
    hold_reach(fit["reach"], [("D1", ALL)], [("D1", ALL)])
    hold_predict(predicted, "C1", genes)


def test_a_target_of_proportions_is_of_the_spots_own_total(card: Path, spy: Path) -> None:
    plan = make_plan(options(card, spy, target="proportion", sections="A1,B1,C1,D1"))
    run_cell(plan.cells[2].task)
    (fit,) = logged(spy, "fit")
    genes = panel([("A1", ALL), ("B1", ALL)])
    hold_side(fit["train"], [("A1", ALL), ("B1", ALL)], genes, "proportion")
    hold_side(fit["validation"], [("D1", ALL)], genes, "proportion")


def test_a_section_held_out_beside_others_of_its_patient(card: Path, spy: Path) -> None:
    """The leaky protocol is leaky in the patient alone: the held-out section itself stays out of reach."""
    plan = make_plan(options(card, spy, protocol="section", allow_leaky=True))
    (cell,) = [cell for cell in plan.cells if cell.task.fold.name == "A1"]
    run_cell(cell.task)
    hold_fit(logged(spy, "fit")[0], [("B1", ALL), ("C1", ALL), ("D1", ALL)], [("A2", ALL)])
    hold_predict(logged(spy, "predict")[0], "A1", panel([("B1", ALL), ("C1", ALL), ("D1", ALL)]))


@pytest.mark.usefixtures("at_once")
def test_ablate_runs_its_rows_on_the_same_sides(card: Path, spy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(ReportedRow(label=name, method=name) for name in ("spy", "spy[shift=2.0]"))
    claims = (Claim(better="spy", than="spy[shift=2.0]", figures=("mse",)),)
    shipped = next(table for table in read_reported() if table.name == "qca-table2")
    reported = shipped.model_copy(update={"name": "spied", "rows": rows, "claims": claims})
    ablation = ablate.Ablation(method="spy", tables=(ablate.AblatedTable(table="spied"),))
    monkeypatch.setattr(ablate, "read_reported", lambda: [reported])
    monkeypatch.setattr(ablate, "read_ablation", lambda _method: ablation)
    wanted = options(card, spy)
    make_plan(wanted)  # registers the plug-in, as the command does
    done = ablate.run_ablation("spy", wanted, quiet())
    hold_cells(spy, [*"ABCD", *"ABCD"], list(done.records))
    assert [line["shift"] for line in logged(spy, "fit")] == [0, 0, 0, 0, 2, 2, 2, 2]


def test_fit_holds_out_the_last_patient_and_chooses_the_panel_without_it(card: Path, spy: Path) -> None:
    record = fit_model(options(card, spy), spy.parent / "model")
    train: Side = [(name, ALL) for name in ("A1", "A2", "B1", "C1")]
    (line,) = logged(spy, "fit")
    hold_fit(line, train, [("D1", ALL)])
    assert (list(record.train), list(record.validation)) == (["A1", "A2", "B1", "C1"], ["D1"])
    assert list(record.panel.genes) == panel(train)
    assert logged(spy, "predict") == logged(spy, "reveal") == []


def test_reproduce_gives_the_cell_its_own_fold_again(card: Path, spy: Path) -> None:
    plan = make_plan(options(card, spy))
    (cell,) = [cell for cell in plan.cells if cell.task.fold.name == "C"]
    first = run_cell(cell.task)
    (spy.parent / "spy.jsonl").unlink()
    again = reproduce(cell.task.folder, None, (), str(card), (f"{spy}:Spy",), quiet())
    assert again.equal
    hold_cells(spy, ["C"], [first])


def test_a_trial_gets_the_training_side_of_its_fold_and_a_cell_the_chosen_point(card: Path, spy: Path) -> None:
    """In real processes: two points in each of two folds, two seeds of the untuned and of the chosen configuration."""
    here = spy.parent
    (here / "space.yaml").write_text("method: spy\nparameters:\n  shift: {choice: [2.0, 0.0]}\n")
    command = [sys.executable, "-c", "from qbench.benchmark.cli.entry import main; main()", "sweep", "spy", "--dataset", card,
               "--data-dir", card.parent, "--plugin", f"{spy}:Spy", "--space", "space.yaml", "--search", "grid",
               "--sections", "C1,D1", "--seeds", "3,1", "--concurrent", "2"]  # fmt: skip
    env = {**os.environ, "QBENCH_DATA": str(card.parent), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, cwd=here, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (path for path in (here / "runs" / "sweeps").iterdir() if path.is_dir())
    told = json.loads((folder / "sweep.json").read_text())
    assert {fold: chosen["settings"] for fold, chosen in told["chosen"].items()} == {
        "C": {"shift": 0},
        "D": {"shift": 0},
    }
    fits, predicted = logged(spy, "fit"), logged(spy, "predict")
    trials = [line for line in fits if "trials" in Path(line["process"]["directory"]).parts]
    cells = [line for line in fits if line not in trials]
    assert (len(trials), len(cells)) == (4, 8)
    assert len({line["process"]["pid"] for line in fits}) == 12, "each in a process of its own"
    assert logged(spy, "reveal") == []
    for line in fits:
        ((learned, held_out),) = [pair for pair in ("CD", "DC") if line["train"][0]["id"] == f"{pair[0]}1"]
        train: Side = [(f"{learned}1", NEAR)]
        genes = panel(train)
        hold_fit(line, train, [(f"{learned}1", FAR)])
        (after,) = (p for p in predicted if p["process"]["pid"] == line["process"]["pid"])
        if line in cells:
            assert line["shift"] == 0.0
            hold_predict(after, f"{held_out}1", genes)
            continue
        hold_predict(after, f"{learned}1", genes, FAR)
        hold_trial(line, card.parent, f"{held_out}1")
        name = Path(line["process"]["directory"]).parent.name
        result = json.loads((folder / "trials" / name / "result.json").read_text())
        error = target(f"{learned}1", genes, NEAR).mean(axis=0) + line["shift"] - target(f"{learned}1", genes, FAR)
        assert result["validation_mse"] == pytest.approx((error**2).mean(), rel=1e-5)
        assert (result["fold"], result["settings"]) == (held_out, {"shift": line["shift"]})
    assert sorted((line["train"][0]["id"], line["process"]["seed"]) for line in cells) == sorted(
        2 * [(section, seed) for section in ("C1", "D1") for seed in (3, 1)]
    )


def hold_trial(line: dict[str, Any], data: Path, held_out: str) -> None:
    """The first seed, one thread, arrays that are files; nothing measured, no held-out section, no folder of the data."""
    process = line["process"]
    assert (process["seed"], process["threads"]) == (3, 1)
    for section in (*line["train"], *line["validation"]):
        assert {"array_xy", "library_size", "rows", "target"} <= set(section["mapped"])
    assert process["kinds"] == []
    assert line["train"][0]["id"] in process["task"]
    assert not [text for text in (f'"{held_out}"', f'"{held_out}-') if text in process["task"]]
    given = [*process["environment"].values(), *process["argv"], process["cwd"], *process["path"], process["task"]]
    assert not [text for text in given if str(data) in text]


NOSY = '''
from spied_here import Spy

class Nosy(Spy):
    """Asks each section that it is handed for the inputs of every other one."""
    name = "nosy"

    def fit(self, train, validation, context):
        super().fit(train, validation, context)
        for section in (*train.sections, *validation.sections):
            self.ask(section)

    def predict(self, section):
        self.ask(section)
        return super().predict(section)

    def ask(self, section):
        told = []
        for other in ("A1", "A2", "B1", "C1", "D1", "Z9"):
            for ask in (lambda: section.store.patches(other), lambda: section.store.features(other, "rgb"),
                        lambda: section.store.features(section.id, "unet")):
                try:
                    ask()
                    told.append([other, None])
                except Exception as error:
                    told.append([other, f"{type(error).__name__}: {error}"])
        self.log("asked", {"section": section.id, "told": told}, section)
'''


@pytest.fixture
def nosy(spy: Path) -> Path:
    text = NOSY.replace("from spied_here import Spy", spy.read_text().replace("from __future__ import annotations", ""))
    (spy.parent / "nosy.py").write_text(text)
    return spy.parent / "nosy.py"


def hold_refused(nosy: Path, asked: int) -> None:
    lines = logged(nosy, "asked")
    assert len(lines) == asked
    for line in lines:
        for n, (other, told) in enumerate(line["told"]):
            own, what = other == line["section"], n % 3
            if own and what < 2:
                assert told is None
                continue
            of = f"patches of section {other}" if what == 0 else f"features of section {other} by encoder 'rgb'"
            of = f"features of section {line['section']} by encoder 'unet'" if what == 2 else of
            assert told.startswith(f"MethodError: The method asked for {of}, but a section gives only its own inputs")
            assert "Method.inputs()" in told


def test_another_sections_inputs_are_out_of_reach_in_a_cell_and_in_fit(card: Path, nosy: Path) -> None:
    wanted = options(card, nosy, methods="nosy", plugin=f"{nosy}:Nosy")
    plan = make_plan(wanted)
    run_cell(plan.cells[0].task)
    hold_refused(nosy, asked=5)  # three sections in fit, two to predict
    fit_model(wanted, nosy.parent / "model")
    hold_refused(nosy, asked=10)


def test_a_cell_whose_method_reaches_out_fails_and_says_why(card: Path, nosy: Path) -> None:
    text = nosy.read_text().replace("told = []", 'section.store.patches("B1")')
    nosy.write_text(text)
    record = run_cell(make_plan(options(card, nosy, methods="nosy", plugin=f"{nosy}:Nosy")).cells[0].task)
    assert record.status == "failed"
    assert record.failure is not None
    assert record.failure.type == MethodError.__name__
    assert "asked for patches of section B1, but a section gives only its own inputs" in record.failure.message

"""What decides a number makes a cell be run again, and nothing else does; for runs, sweeps, predictions from elsewhere and fits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import yaml
from qbench.benchmark.engine import identity
from qbench.benchmark.engine import plan as plans
from qbench.benchmark.engine.cell import run_cell
from qbench.benchmark.engine.changes import differences
from qbench.benchmark.engine.plan import Plan, make_plan
from qbench.benchmark.external.score import score_predictions
from qbench.benchmark.predict import fit as fits
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.scoring import metrics as score
from qbench.benchmark.scoring import plugin_metrics as metrics
from qbench.benchmark.scoring.plugin_metrics import Metric
from qbench.benchmark.settings import RunSettings
from qbench.benchmark.sweep.run import sweep_identity
from qbench.benchmark.sweep.settings import SweepSettings
from qbench.benchmark.sweep.space import read_space
from qbench.datasets import panel, patches, protocol, stain_treatment, target
from qbench.datasets.hashing import canonical_hash
from qbench.datasets.readers import h5ad
from qbench.errors import IntegrityError
from qbench.leaderboard.record import find_records
from qbench.leaderboard.summarise import summarise
from qbench.methods import machine, scaling
from qbench.methods.controls.ridge import Ridge
from qbench.methods.encoders import registry as encoders

from ...support.datasets_sections import counts, grid, write_card, write_h5ad, write_image
from ...support.leaderboard_factory import record

SECTIONS = {"A1": "A", "A2": "A", "B1": "B", "C1": "C", "D1": "D"}
MARKERS = {"tumour": ["ERBB2", "KRT19"], "immune": ["CD74"]}


def write(folder: Path) -> Path:
    """Four patients, five sections with images, and two files that pass for an encoder's weights."""
    entries = []
    for i, (section, patient) in enumerate(SECTIONS.items()):
        write_h5ad(folder / f"{section}.h5ad", counts(seed=i) + 20, spatial=grid())
        write_image(folder / f"{section}.png", seed=i)
        entries.append({"id": section, "patient": patient, "file": f"{section}.h5ad", "image": f"{section}.png"})
    write_card(folder / "mine.yaml", "h5ad", entries, markers=MARKERS, technical_genes=["ACTB"])
    shutil.copy(protocol.SHIPPED / "patient.yaml", folder / "patient.yaml")
    for name in ("first", "second"):
        (folder / f"{name}.safetensors").write_bytes(name.encode())
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("written") / "data")


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "data")


def options(data: Path, **changes: Any) -> RunSettings:
    given = {
        "methods": ("ridge",),
        "dataset": str(data / "mine.yaml"),
        "protocol": str(data / "patient.yaml"),
        "encoder_weights": (f"efficientnet_lite0={data / 'first.safetensors'}",),
        "runtime": "eager:fp32",
        "out": data.parent / "runs",
    }
    return RunSettings.model_validate({**given, **changes})


def finish(plan: Plan) -> None:
    """A record of every cell, as if it had been run."""
    for cell in plan.cells:
        task = cell.task
        done = record(task.method.partition("[")[0], task.fold.name, {"x": {"pcc_hvg": 0.5}}, seed=task.seed)
        method = done.method.model_copy(update={"label": task.method})
        done = done.model_copy(
            update={"cell": task.cell, "identity": task.identity, "schema_version": 2, "method": method}
        )
        task.folder.mkdir(parents=True)
        (task.folder / "record.json").write_text(done.model_dump_json(by_alias=True))


def states(plan: Plan) -> set[str]:
    return {cell.state for cell in plan.cells}


Change = Callable[[Path, pytest.MonkeyPatch], dict[str, Any] | None]


def edit_card(change: Callable[[dict[str, Any]], Any]) -> Change:
    def apply(data: Path, _patch: pytest.MonkeyPatch) -> None:
        card = yaml.safe_load((data / "mine.yaml").read_text())
        change(card)
        (data / "mine.yaml").write_text(yaml.safe_dump(card, sort_keys=False))

    return apply


def edit_protocol(**values: Any) -> Change:
    def apply(data: Path, _patch: pytest.MonkeyPatch) -> None:
        known = yaml.safe_load((data / "patient.yaml").read_text())
        (data / "patient.yaml").write_text(yaml.safe_dump(known | values))

    return apply


def edit_section(change: Callable[[anndata.AnnData], Any]) -> Change:
    def apply(data: Path, _patch: pytest.MonkeyPatch) -> None:
        section = anndata.read_h5ad(data / "B1.h5ad")
        change(section)
        section.write_h5ad(data / "B1.h5ad")

    return apply


def constant(owner: Any, name: str, value: Any) -> Change:
    def apply(_data: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, value)

    return apply


def asked(**changes: Any) -> Change:
    return lambda _data, _patch: changes


def one_count(section: anndata.AnnData) -> None:
    section.X[3, 2] += 1


def one_place(section: anndata.AnnData) -> None:
    section.obsm["spatial"][5, 1] += 1.0


def other_array(section: anndata.AnnData) -> None:
    section.obsm["array"] = np.column_stack([np.arange(12) // 4, np.arange(12) % 4]).astype(float)


def another_image(data: Path, _patch: pytest.MonkeyPatch) -> None:
    write_image(data / "B1.png", seed=99)


def another_encoder_version(_data: Path, patch: pytest.MonkeyPatch) -> None:
    known = encoders.card("efficientnet_lite0")
    patch.setattr(encoders, "card", lambda name: known.model_copy(update={"version": known.version + 1}))


def a_metric(_data: Path, patch: pytest.MonkeyPatch) -> None:
    mine = (Metric("mine", lambda truth, _: truth[0], "package 1"),)
    for module in (identity, metrics):
        patch.setattr(module, "metrics", lambda: mine)


# What every kind of number depends on: change -> a word of the reason.
SHARED: dict[str, tuple[Change, str]] = {
    "patient": (edit_card(lambda card: card["sections"][1].update(patient="E")), "A2's patient was A, is E"),
    "section": (edit_card(lambda card: card["sections"].pop(2)), "B1 left the fold"),
    "count": (edit_section(one_count), "the data of B1 changed"),
    "coordinate": (edit_section(one_place), "the data of B1 changed"),
    "array": (edit_section(other_array), "the data of B1 changed"),
    "image": (another_image, "the data of B1 changed"),
    "scale of the image": (edit_card(lambda card: card["sections"][2].update(microns_per_pixel=0.5)), "the data of B1"),
    "markers": (edit_card(lambda card: card["markers"]["immune"].append("VWF")), "markers changed"),
    "order of markers": (edit_card(lambda card: card["markers"]["tumour"].reverse()), "markers changed"),
    "technical genes": (
        edit_card(lambda card: card["technical_genes"].append("VWF")),
        'technical genes was ["ACTB"], is',
    ),
    "panel size": (constant(panel, "PANEL_SIZE", 5), "panel size was 1000, is 5"),
    "headline": (constant(panel, "HEADLINE", 20), "genes of HVG and HEG was 50, is 20"),
    "panel version": (constant(panel, "PANEL_VERSION", 99), "panel version was"),
    "validation version": (constant(protocol, "VALIDATION_VERSION", 99), "validation version was"),
    "validation share": (constant(protocol, "VALIDATION_SHARE", 0.3), "validation share was 0.2, is 0.3"),
    "pooling version": (constant(protocol, "POOLING_VERSION", 99), "pooling version was"),
    "target version": (constant(target, "TARGET_VERSION", 99), "target version was"),
    "reader version": (constant(h5ad, "VERSION", 99), "reader h5ad version was"),
    "profile": (asked(profile="paper"), "profile was fast, is paper"),
}
# What only what is trained here depends on.
TRAINED: dict[str, tuple[Change, str]] = {
    "patch size": (constant(plans, "PATCH_SIZE", 112), "patch size was 224"),
    "patch version": (constant(patches, "PATCH_VERSION", 99), "patch version was"),
    "microns per pixel": (asked(microns_per_pixel=0.5), "microns per pixel was none, is 0.5"),
    "stain": (asked(stain="grey"), "stain treatment was none, is grey"),
    "scaling version": (constant(scaling, "SCALING_VERSION", 99), "scaling version was"),
    "encoder": (asked(encoder="rgb", encoder_weights=()), "encoders default encoder was efficientnet_lite0, is rgb"),
    "encoder version": (another_encoder_version, "encoders default version was"),
    "runtime": (asked(runtime="compiled:fp32"), "encoders default runtime was eager, is compiled"),
    "dtype": (asked(runtime="eager:bf16"), "encoders default dtype was fp32, is bf16"),
    "precision": (asked(precision="bf16"), "precision was fp32, is bf16"),
    "select": (asked(select="pcc"), "select was mse, is pcc"),
    "max epochs": (asked(max_epochs=3), "max epochs was none, is 3"),
    "method version": (constant(Ridge, "version", 99), "method version was"),
}
# What only what is scored depends on.
SCORED: dict[str, tuple[Change, str]] = {
    "score version": (constant(score, "SCORE_VERSION", 99), "score version was"),
    "metric of a plug-in": (a_metric, "metrics is new"),
}
EVERY = {**SHARED, **TRAINED, **SCORED}


@pytest.mark.parametrize("name", EVERY)
def test_whatever_decides_a_number_is_run_again(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, words = EVERY[name]
    finish(make_plan(options(data)))
    assert states(make_plan(options(data))) == {"cached"}
    plan = make_plan(options(data, **(change(data, monkeypatch) or {})))
    assert states(plan) == {"to do"}
    told = {cell.reason for cell in plan.cells if cell.reason != "new"}
    assert told
    assert all(words in reason for reason in told if reason), told


def test_weights_parameters_and_seeds_are_run_again(data: Path) -> None:
    finish(make_plan(options(data)))
    other = make_plan(options(data, encoder_weights=(f"efficientnet_lite0={data / 'second.safetensors'}",)))
    assert {cell.reason for cell in other.cells} == {"changed: encoders default weights changed"}
    assert states(make_plan(options(data, methods=("ridge[alpha=2]",)))) == {"to do"}
    seeded = options(data, methods=("qca",), seeds=(0,))
    finish(make_plan(seeded))
    assert [c.state for c in make_plan(seeded.model_copy(update={"seeds": (0, 1)})).cells] == ["cached", "to do"] * 4


def test_cells_whose_stain_is_treated_hold_how(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(make_plan(options(data, stain="macenko")))
    assert states(make_plan(options(data, stain="macenko"))) == {"cached"}
    monkeypatch.setattr(stain_treatment, "STAIN_VERSION", 99)
    assert {cell.reason for cell in make_plan(options(data, stain="macenko")).cells} == {
        "changed: stain version was 1, is 99"
    }


def test_a_stain_that_is_left_alone_is_in_no_identity(data: Path) -> None:
    (task, *_) = (cell.task for cell in make_plan(options(data)).cells)
    assert task.identity["patches"] == {"size": 224, "microns_per_pixel": None, "version": patches.PATCH_VERSION}
    # What reads no image is the same, however the patches of others are treated.
    blind = [make_plan(options(data, methods=("mean",), stain=stain)) for stain in ("none", "grey")]
    assert [c.task.cell for c in blind[0].cells] == [c.task.cell for c in blind[1].cells]


def test_bf16_cells_hold_what_runs_in_bf16(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(make_plan(options(data, precision="bf16")))
    monkeypatch.setattr(machine, "BF16_VERSION", 99)
    told = {cell.reason for cell in make_plan(options(data, precision="bf16")).cells}
    assert told == {f"changed: bf16 version was {2}, is 99"}


def test_a_tuned_backbone_is_known_by_what_predicts_through_it_unless_that_is_fp32(data: Path) -> None:
    def backbones(runtime: str, method: str) -> list[Any]:
        asked = options(data, methods=(method,), profile="paper", encoder_weights=("random",), runtime=runtime)
        return [cell.task.identity["backbone"] for cell in make_plan(asked).cells]

    exact, halved = (backbones(f"eager:{dtype}", "stnet") for dtype in ("fp32", "bf16"))
    assert "evaluation" not in exact[0]
    assert halved == [{**backbone, "evaluation": "eager:bf16"} for backbone in exact]
    assert "evaluation" not in backbones("eager:bf16", "triplex")[0], "it reads a map and not what is pooled"


def test_the_portion_of_a_split_section_is_held(data: Path) -> None:
    two = options(data, sections=("A1", "B1"))
    first = make_plan(two).cells[0].task
    held = first.identity["fold"]
    assert {side: [(s, p["portion"], p["spots"]) for s, p in held[side].items()] for side in ("train", "validation", "test")} == {
        "train": [("B1", "near", 10)],
        "validation": [("B1", "far", 2)],
        "test": [("A1", "all", 12)],
    }  # fmt: skip
    other = json.loads(json.dumps(first.identity))
    other["fold"]["train"]["B1"] |= {"portion": "all", "spots": 12}
    other["fold"]["validation"] = {}
    assert differences(first.identity, other) == [
        "B1 was in training (10 spots) and validation (2 spots), is in training"
    ]


WORDING: dict[str, Change] = {
    "title of the protocol": edit_protocol(title="worded otherwise"),
    "title of the dataset": edit_card(lambda card: card.update(title="worded otherwise")),
    "citation": edit_card(lambda card: card.update(citation="worded otherwise")),
    "licence": edit_card(lambda card: card.update(licence="worded otherwise")),
    "note": edit_card(lambda card: card.update(notes=["worded otherwise"])),
    "address": edit_card(lambda card: card.update(url="https://example.org")),
    "name of the markers": edit_card(lambda card: card.update(markers_name="worded otherwise")),
    "another gene list": edit_card(lambda card: card.update(gene_lists={"other": ["VWF"]})),
    "order of the card's sections": edit_card(lambda card: card["sections"].reverse()),
    "order of technical genes": edit_card(lambda card: card.update(technical_genes=["ACTB"][::-1])),
}


@pytest.mark.parametrize("name", WORDING)
def test_what_is_only_worded_otherwise_is_done(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(make_plan(options(data)))
    WORDING[name](data, monkeypatch)
    assert states(make_plan(options(data))) == {"cached"}


def test_files_written_otherwise_and_elsewhere_are_done(data: Path) -> None:
    finish(make_plan(options(data)))
    section = anndata.read_h5ad(data / "B1.h5ad")
    section.write_h5ad(data / "B1.h5ad", compression="gzip")
    moved = data.rename(data.with_name("moved"))
    assert states(make_plan(options(moved))) == {"cached"}


def held(names: Sequence[str]) -> list[Any]:
    return [pytest.param(EVERY[name][0], id=name) for name in names]


@pytest.mark.parametrize("change", held([*SHARED, *TRAINED, *SCORED]))
def test_a_sweep_is_another_one(change: Change, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(**more: Any) -> dict[str, Any]:
        plan = make_plan(options(data, **more))
        base = plan.methods[0].spec
        (data / "space.yaml").write_text("{method: ridge, parameters: {alpha: {choice: [1.0, 2.0]}}}")
        return sweep_identity(base, read_space(base, data / "space.yaml"), plan.methods, SweepSettings(), plan)

    before = found()
    assert found() == before
    after = found(**(change(data, monkeypatch) or {}))
    assert canonical_hash(after) != canonical_hash(before)
    assert differences(before, after)


def predicted(data: Path) -> Path:
    """Predictions of every section, made elsewhere."""
    path = data.parent / "elsewhere.csv"
    if not path.exists():
        rows = ["section,spot,gene,prediction"]
        for name in SECTIONS:
            section = anndata.read_h5ad(data / f"{name}.h5ad")
            rows += [
                f"{name},{s},{g},{(i * j) % 5 + 1}"
                for i, s in enumerate(section.obs_names)
                for j, g in enumerate(section.var_names)
            ]
        path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("change", held([*SHARED, *SCORED]))
def test_predictions_from_elsewhere_are_another_cell(
    change: Change, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cells(**more: Any) -> set[str]:
        return {r.cell for r in score_predictions(predicted(data), "elsewhere", "log1p", options(data, **more))[0]}

    before = cells()
    assert cells() == before
    assert not cells(**(change(data, monkeypatch) or {})) & before


@pytest.mark.parametrize("change", held([*SHARED, *TRAINED]))
def test_a_fit_keeps_what_decided_it(change: Change, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is encoded or trained here."""
    for name in ("prepare", "open_cohort", "fit", "write_model"):
        monkeypatch.setattr(fits, name, lambda *_: None)

    def found(**more: Any) -> dict[str, Any]:
        return fit_model(options(data, **more), data / "model").identity

    before = found()
    assert found() == before
    after = found(**(change(data, monkeypatch) or {}))
    assert after != before
    assert differences(before, after)


def test_one_identity_serves_all(data: Path) -> None:
    """What a fold is and what rules it is the same object in a run, a sweep, a score and a fit."""
    asked_for = options(data, methods=("mean",))
    plan = make_plan(asked_for)
    cell = plan.cells[0].task.identity
    external = score_predictions(predicted(data), "elsewhere", "log1p", asked_for)[0][0].identity
    fitted = fit_model(asked_for, data / "model")
    assert json.loads((data / "model" / "fit.json").read_text())["identity"] == fitted.identity
    common = ("rules", "target", "reader")
    for other in (external, fitted.identity):
        assert {key: other[key] for key in common} == {key: cell[key] for key in common}
    assert external["fold"] == cell["fold"]
    everything = {**fitted.identity["fold"]["train"], **fitted.identity["fold"]["validation"]}
    assert {section: part["patient"] for section, part in everything.items()} == SECTIONS


def test_a_cell_of_the_first_schema_is_run_again_and_says_so(data: Path) -> None:
    finish(make_plan(options(data)))
    for path in (data.parent / "runs").glob("*/*/record.json"):
        old = json.loads(path.read_text())
        identity_then = {"method": "ridge", "fold": old["fold"]["name"], "protocol": "0" * 12, "data": "d" * 64}
        changes = {"schema": 1, "identity": identity_then, "cell": canonical_hash(identity_then)}
        path.write_text(json.dumps(old | changes))
    plan = make_plan(options(data))
    assert {(cell.state, "an older qbench" in cell.reason) for cell in plan.cells} == {("to do", True)}


# --- the corrected patient ------------------------------------------------------------------------------------------------


def test_a_corrected_patient_is_run_again_and_stands_in_a_table_of_its_own(data: Path) -> None:
    edit_card(lambda card: card["sections"][2].update(patient="A"))(data, None)  # B1 is B's
    wrong = options(data, methods=("mean",))
    first = [run_cell(cell.task) for cell in make_plan(wrong).cells]
    assert {cell.state for cell in make_plan(wrong).cells} == {"cached"}
    leaking = next(r for r in first if r.fold.name == "C")
    edit_card(lambda card: card["sections"][2].update(patient="B"))(data, None)
    again = make_plan(wrong)
    assert {cell.state for cell in again.cells} == {"to do"}
    reasons = {cell.task.fold.name: cell.reason for cell in again.cells}
    assert "B1's patient was A, is B" in reasons["C"]
    assert reasons["B"] == "new"
    second = [run_cell(cell.task) for cell in again.cells]
    assert not {r.cell for r in first} & {r.cell for r in second}
    assert leaking.protocol.hash != second[0].protocol.hash
    tables = summarise(r for _, r in find_records(wrong.out))
    assert sorted(len(table.folds) for table in tables) == [3, 4], (
        "the wrong one's folds stay out of the right one's table"
    )
    assert {cell.state for cell in make_plan(wrong).cells} == {"cached"}


def test_data_that_changed_since_the_plan_stop_the_cell(data: Path) -> None:
    task = make_plan(options(data, methods=("mean",))).cells[0].task
    edit_card(lambda card: card["sections"][1].update(patient="E"))(data, None)
    with pytest.raises(IntegrityError, match="expected the data and patients that the run was planned with"):
        run_cell(task)

"""The contract test, on methods that keep it and on methods that break one promise each."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qbench.benchmark.cli.entry import app
from qbench.benchmark.contract.check import CheckResult, check_method
from qbench.benchmark.contract.tiny import GENES, SPOTS, make_tiny
from qbench.datasets.cohort import SealedSection
from qbench.errors import ConfigurationError
from qbench.methods.controls.mean import Mean
from qbench.methods.controls.ridge import Ridge
from qbench.methods.method import FitContext, Inputs, Method
from qbench.methods.registry import MethodSpec, spec
from typer.testing import CliRunner

from ...support.places import ROOT

DOCS = ROOT / "docs"


def results(cls: type[Method]) -> dict[str, CheckResult]:
    class Spec(MethodSpec):
        cls: type[Method]

    made = Spec("broken", "broken", "fast", {}, "", "here", cls.Parameters())
    object.__setattr__(made, "__dict__", {**made.__dict__, "cls": cls})
    return {result.promise: result for result in check_method(made)}


def broken(cls: type[Method]) -> str:
    """The only promise that is broken, and what is said of it."""
    found = [result for result in results(cls).values() if result.status == "broken"]
    assert len(found) == 1, found
    return f"{found[0].promise} | {found[0].detail}"


class WrongShape(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return super().predict(section).T


class WrongType(Ridge):
    def predict(self, section: SealedSection) -> NDArray[Any]:
        return super().predict(section).astype(np.float64)


class NotFinite(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        values = super().predict(section)
        values[0, 0] = np.nan
        return values


class SortsGenes(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return super().predict(section)[:, np.argsort(self.genes)]


class ForgetsGenes(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        self.genes = tuple(sorted(self.genes))


class DropsOut(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        values = super().predict(section)
        return (values + np.random.default_rng().normal(0, 1e-3, values.shape)).astype(np.float32)


class NormalisesOverTheBatch(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        values = super().predict(section)
        return values - values.mean(axis=0) / 10 if len(values) > 1 else values


class ByRowNumber(Ridge):
    context = "section"

    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return super().predict(section) + np.linspace(0, 1, section.n_spots, dtype=np.float32)[:, None]


class Unseeded(Ridge):
    seeded = True

    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        self._intercept = self._intercept + np.random.default_rng().normal(0, 0.1)


class HidesItsSeed(Ridge):
    seeded = False

    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        self._intercept = self._intercept + np.random.default_rng(context.seed).normal(0, 0.1)


class ForgetsToSave(Ridge):
    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "intercept": np.zeros_like(self._intercept)}


class Pickles(Mean):
    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "extra.pkl").write_bytes(b"")


class RemembersNames(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        self._patients = set(train.patients)

    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        return super().predict(section) + np.float32(section.patient in getattr(self, "_patients", ()))


class ReadsFiles(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        (Path(__file__).parent / "no-such-counts.tsv").exists()
        with Path("/dev/null").open():
            pass
        with (ROOT / "pyproject.toml").open():
            pass
        try:
            Path("counts.tsv").read_text()
        except FileNotFoundError:
            return super().predict(section)
        return super().predict(section)


class Undeclared(Ridge):
    @classmethod
    def inputs(cls, parameters: Any) -> Inputs:
        return Inputs(encoders=("rgb",))

    def fit(self, train: Any, validation: Any, context: Any) -> None:
        train.patches()


class Nosy(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        assert section.store is not None
        section.store.features("c1", "")
        return super().predict(section)


class ListsGenes(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        self.genes = list(self.genes)  # type: ignore[assignment]


class DividesByZero(Ridge):
    def predict(self, section: SealedSection) -> NDArray[np.float32]:
        values = super().predict(section)
        patches = np.asarray(section.features())
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = patches.std(axis=1, keepdims=True)
            return np.asarray(values * (spread / spread), dtype=np.float32)


class NeedsValidation(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        len(validation)
        super().fit(train, validation, context)


class RunsOn(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        for epoch in range(100):
            context.report(epoch, {"loss": 0.0})


class ChangesTheTarget(Ridge):
    def fit(self, train: Any, validation: Any, context: Any) -> None:
        super().fit(train, validation, context)
        train.target[:] = 0


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (SortsGenes, "order of the panel | mean predictions per gene do not follow"),
        (NormalisesOverTheBatch, "on its own, whatever the batch | three spots alone differ"),
        (ByRowNumber, "order of the spots does not matter | spots in another order are predicted otherwise"),
        (Unseeded, "same seed gives the same model | fitted twice with one seed"),
        (HidesItsSeed, "same seed gives the same model | another seed gives other predictions, but seeded is False"),
        (ForgetsToSave, "save and load .* return everything that predict needs from state"),
        (Pickles, "without pickles | save writes extra.pkl"),
        (ReadsFiles, "no files.* predict read counts.tsv"),
        (DividesByZero, "bare glass .* gives no finite row"),
        (NeedsValidation, "without a validation cohort | raised TypeError"),
        (RunsOn, "stops at max_epochs.* reported 101 epochs, but context.max_epochs was 12"),
        (ChangesTheTarget, "leaves the targets as they were | fit changed train.target"),
    ],
)
def test_a_broken_promise_is_named_and_no_other(cls: type[Method], message: str) -> None:
    assert re.search(message.replace(" | ", r" \| "), broken(cls))


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (WrongShape, r"expected predictions of shape \(20, 24\) .* found \(24, 20\)"),
        (WrongType, r"expected float32, found float64; end with .astype"),
        (NotFinite, "expected finite predictions, found 1 that are not"),
        (ForgetsGenes, "set self.genes = train.genes"),
        (Nosy, r"^The method asked for features of section c1 .* a section gives only its own inputs"),
        (ListsGenes, "set self.genes = train.genes"),
        (Undeclared, r"raised ConfigurationError: It read patches, which it did not declare"),
    ],
)
def test_what_the_rest_depends_on_stops_the_test(cls: type[Method], message: str) -> None:
    found = results(cls)
    (first,) = [result for result in found.values() if result.status == "broken"]
    assert re.search(message, first.detail)
    assert list(found.values())[-1].status == "not tried"


def test_dropout_that_is_left_on_breaks_more_than_one_promise() -> None:
    found = results(DropsOut)
    assert found["dropout and the like are off: predicting twice gives the same"].status == "broken"


def test_a_method_that_remembers_patients() -> None:
    class Remembers(RemembersNames):
        def state(self) -> dict[str, NDArray[Any]]:
            return super().state()

    found = results(Remembers)
    (blind,) = [result for promise, result in found.items() if "no names" in promise]
    assert blind.status == "broken"
    assert "under another section, patient or spot name" in blind.detail


@pytest.mark.parametrize("name", ["mean", "ridge", "colour", "knn", "context", "coordinates"])
def test_shipped_controls_keep_their_promises(name: str) -> None:
    assert [result for result in check_method(spec(name)) if result.status != "kept"] == []


@pytest.mark.parametrize(
    "name",
    [
        "bleep",
        "stnet",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                "qca",
                "histogene",
                "hist2st",
                "thitogene",
                "triplex",
                "deepspot",
                "istar",
                "xfuse",
                "mlp",
                "pca-ridge",
            )
        ),
    ],
)
def test_shipped_methods_keep_their_promises(name: str) -> None:
    assert [result for result in check_method(spec(name)) if result.status != "kept"] == []


def test_oracles_are_not_checked() -> None:
    with pytest.raises(ConfigurationError, match="shown the test counts on purpose"):
        check_method(spec("depth"))


def test_the_tiny_dataset_can_be_learned() -> None:
    data = make_tiny(Inputs(encoders=("",)))
    assert data.train.target.shape == (2 * SPOTS, GENES)
    assert list(data.train.genes) != sorted(data.train.genes)
    assert not hasattr(data.test, "target")


# --- the command, and the method of the documentation ----------------------------------------------------------------------


def documented_method() -> str:
    """The method in 30 lines that docs/own-method.md explains."""
    found = re.search(
        r"```python\n(import numpy.*?)```", (DOCS / "own-method.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert found
    return found[1]


@pytest.mark.slow
def test_the_method_of_the_documentation_is_checked_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = documented_method()
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 30
    (tmp_path / "my.py").write_text(code)
    run = CliRunner().invoke
    result = run(app, ["check", "my.py:MyMethod", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["method"], found["kept"]) == ("my-method", True)
    plan = run(
        app,
        [
            "run",
            "--plugin",
            "my.py:MyMethod",
            "--methods",
            "my-method,my-method[alpha=1000],ridge",
            "--dry-run",
            "--json",
        ],
    )
    assert plan.exit_code == 0, plan.output
    assert {cell["method"] for cell in json.loads(plan.stdout)["cells"]} == {
        "my-method",
        "my-method[alpha=1000]",
        "ridge",
    }


def test_a_plug_in_that_raises_and_one_that_breaks_its_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raising.py").write_text("import no_such_package\n")
    run = CliRunner().invoke
    result = run(app, ["check", "raising.py:X"])
    assert isinstance(result.exception, ConfigurationError)
    assert "raised ModuleNotFoundError on import: No module named 'no_such_package'" in str(result.exception)
    code = documented_method().replace('"my-method"', '"not-float"').replace(".astype(np.float32)", "")
    (tmp_path / "not_float.py").write_text(code)
    result = run(app, ["check", "not_float.py:MyMethod"])
    assert result.exit_code == 1
    assert "✗ predict gives float32 (spots, genes), all finite: expected float32, found float64" in " ".join(
        result.output.split()
    )


def test_the_documented_method_that_looks_around_keeps_its_contract_and_does_look_around() -> None:
    (code,) = re.findall(
        r"```python\n(import numpy[^`]*class NearMethod.*?)```", (DOCS / "own-method.md").read_text(), re.DOTALL
    )
    scope: dict[str, Any] = {}
    exec(code, scope)
    near = scope["NearMethod"]
    assert [result for result in results(near).values() if result.status != "kept"] == []
    data, method = make_tiny(Inputs(encoders=("",))), near()
    method.fit(data.train, None, FitContext())
    pixels = data.store.held.copy()
    pixels[7] = 245
    moved = replace(data.test, store=data.store.holding(data.test.id, pixels))
    spots, others = data.test.neighbours(6).edges()
    changed = np.abs(method.predict(moved) - method.predict(data.test)).max(axis=1) > 1e-6
    assert set(np.nonzero(changed)[0]) == {7, *spots[others == 7]}

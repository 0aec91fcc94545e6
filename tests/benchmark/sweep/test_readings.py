"""Readings of what a paper leaves open: the file, the sample, the judgement on validation, the claims and their picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from qbench.benchmark.cli.entry import app
from qbench.benchmark.plugins import load_plugins
from qbench.benchmark.settings import RunSettings
from qbench.benchmark.sweep.readings import Multiverse, ReadingsFile, read_multiverse
from qbench.benchmark.sweep.readings_report import (
    as_dict,
    as_markdown,
    claim_cells,
    counts,
    effect_cells,
    write_readings,
)
from qbench.benchmark.sweep.readings_run import Held, Judged, Measured, best, effects, judge, select
from qbench.benchmark.sweep.settings import SweepSettings
from qbench.benchmark.sweep.state import Sweep
from qbench.benchmark.sweep.trial_files import TrialResult
from qbench.errors import ConfigurationError
from qbench.leaderboard.reported import Claim, verdicts
from qbench.leaderboard.summarise import summarise
from qbench.methods.qca.parameters import QCAParameters
from qbench.methods.registry import parse
from typer.testing import CliRunner

from ...support.leaderboard_factory import simple
from ...support.tiny_her2st import make as make_tiny

POINTS = """
method: qca
points:
  - point: similarity
    where: line 9
    asks: Which?
    readings:
      - {reading: cosine, settings: {similarity: cosine}, why: usual}
      - {reading: dot, settings: {similarity: dot}, why: literal}
  - point: rounding
    where: section 4
    asks: Where?
    readings:
      - {reading: after, settings: {round_in_loss: false}, why: as written}
      - {reading: inside, settings: {round_in_loss: true}, why: straight through}
"""


def multiverse(text: str = POINTS, method: str = "qca") -> Multiverse:
    return Multiverse(parse(method), ReadingsFile.model_validate(yaml.safe_load(text)), "mine.yaml")


def test_the_readings_of_qca_name_every_point_that_its_methods_leave_open():
    for profile in ("fast", "paper"):
        found = read_multiverse(parse("qca", profile))
        assert parse("qca", profile).label == "qca"
        own = found.settings(found.own)
        values = parse("qca", profile).parameters.model_dump(mode="json")
        assert QCAParameters(**{**values, **own}) == parse("qca", profile).parameters
    named = {name for point in read_multiverse(parse("qca")).points for name in point.readings[0].settings}
    assert {
        "similarity", "temperature", "alignment_targets", "second_logits", "detach_targets", "mask_diagonal", "quantizer",
        "quantize", "fsq_levels", "feature_norm", "code_norm", "recon_levels", "stop_grad_encoder_targets", "autoencode",
        "l1_reduction", "image_encoder", "round_in_loss",
    } <= named  # fmt: skip


def test_a_sample_is_seeded_has_the_default_first_and_every_combination_where_they_are_few():
    large = read_multiverse(parse("qca"))
    first = large.sample(20, 3)
    assert first == large.sample(20, 3)
    assert first != large.sample(20, 4)
    assert first[0] == large.own
    assert len(set(first)) == 20
    small = multiverse()
    assert small.size == 4
    assert small.sample(None, 0) == small.sample(99, 1) == [
        ("cosine", "after"), ("cosine", "inside"), ("dot", "after"), ("dot", "inside"),
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"combinations of readings; say how many to draw with --samples N"):
        large.sample(None, 0)


def test_what_the_user_fixes_is_no_open_point():
    fixed = multiverse(method="qca[similarity=dot]")
    assert [point.point for point in fixed.points] == ["rounding"]
    assert fixed.sample(None, 0) == [("after",), ("inside",)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("similarity: dot", "similarity: dott", "found 'dott'. Did you mean 'dot'?"),
        ("similarity: dot", "similarty: dot", "expected the readings of 'similarity' to set the same parameters"),
        ("{round_in_loss: true}", "{similarity: dot, round_in_loss: true}", "to set the same parameters"),
        ("round_in_loss", "similarity", "expected each parameter in one point, found similarity in 'similarity' and"),
        ("cosine, settings: {similarity: cosine}", "x, settings: {similarity: centred}", "none of 'similarity' is what qca"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_the_method_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = POINTS.replace(old, new)
    with pytest.raises((ConfigurationError, ValueError)) as caught:
        multiverse(text)
    assert words in str(caught.value)


def test_a_parameter_that_is_not_there_is_named_with_the_closest():
    text = POINTS.replace("similarity: cosine}", "similarty: cosine}").replace("similarity: dot}", "similarty: dot}")
    with pytest.raises(ConfigurationError, match=r"no parameter of qca named 'similarty'. Did you mean 'similarity'\?"):
        multiverse(text)


def test_a_method_without_readings_is_told_where_they_lie():
    with pytest.raises(
        ConfigurationError, match=r"No readings come with bleep.*readings/bleep.yaml.*With readings: qca"
    ):
        read_multiverse(parse("bleep"))


def sweep(figures: Mapping[tuple[str, int], float | None]) -> Sweep:
    """A finished sweep: (fold, number) -> validation MSE, None for a trial that failed."""
    universe = multiverse()
    points = [universe.settings(names) for names in universe.sample(None, 0)]
    results = [
        TrialResult(
            fold=fold,
            number=number,
            settings=points[number],
            status="failed" if value is None else "finished",
            validation_mse=value,
            validation_pcc=None if value is None else -value,
        )
        for (fold, number), value in figures.items()
    ]
    options = RunSettings(methods=("qca",))
    folds = tuple(dict.fromkeys(fold for fold, _ in figures))
    return Sweep(
        Path("unused"), universe.base, universe.space(), options, SweepSettings(), "k" * 64, folds, points, results
    )


# In fold A number 1 is best by .02, in fold B number 2 by .10; 3 fails in one.
FIGURES = {("A", 0): 0.50, ("A", 1): 0.40, ("A", 2): 0.42, ("A", 3): 0.41,
           ("B", 0): 0.90, ("B", 1): 0.90, ("B", 2): 0.80, ("B", 3): None}  # fmt: skip


def judged() -> tuple[Judged, ...]:
    universe = multiverse()
    return judge(sweep(FIGURES), universe, universe.sample(None, 0))


def test_combinations_are_judged_over_all_folds_and_a_failed_one_is_never_the_best():
    found = judged()
    assert [one.excess for one in found] == [pytest.approx(0.1), pytest.approx(0.05), pytest.approx(0.01), None]
    assert [one.label for one in found[:3]] == ["qca", "qca[round_in_loss=true]", "qca[similarity=dot]"]
    assert best(found).number == 2


def test_the_effect_of_a_reading_is_over_the_combinations_that_have_it():
    by_name = {(e.point, e.reading): e for e in effects(judged(), multiverse())}
    dot = by_name["similarity", "dot"]
    assert (dot.n, dot.failed, dot.own, dot.median) == (2, 1, False, pytest.approx(0.01))
    cosine = by_name["similarity", "cosine"]
    assert (cosine.n, cosine.failed, cosine.own) == (2, 0, True)
    assert (cosine.median, cosine.least) == (pytest.approx(0.075), pytest.approx(0.05))


def test_claims_are_measured_for_the_default_the_chosen_and_then_as_drawn():
    found = judged()
    assert [(role, one.number) for role, one in select(found, best(found), 3)] == [
        ("default", 0), ("chosen", 2), ("drawn", 1),
    ]  # fmt: skip
    assert [role for role, _ in select(found, found[0], 2)] == ["default", "drawn"]
    assert select(found, best(found), 0) == []


def measured(folder: Path) -> Measured:
    """The claim that qca is better than without alignment: held by A and B under the default, by A alone under `dot`."""
    from qbench.leaderboard.reported import Reported

    records = [
        *simple("qca", {"A": 0.3, "B": 0.3}),
        *simple("qca", {"A": 0.2, "B": 0.1}, settings={"alignment": "none"}),
        *simple("qca", {"A": 0.4, "B": 0.2}, settings={"similarity": "dot"}),
        *simple("qca", {"A": 0.3, "B": 0.6}, settings={"alignment": "none", "similarity": "dot"}),
    ]
    (table,) = summarise(records, reference="qca")
    words = dict.fromkeys(
        ("title", "source", "url", "dataset", "target", "protocol", "genes", "metric", "spread", "sure"), "x"
    )

    def held(role: str, one: Judged, better: str, than: str) -> Held:
        claim = Claim(better=better, than=than, figures=("pcc_hvg",))
        reported = Reported(name="qca-table2", rows=(), claims=(claim,), **words)
        return Held(one, role, {"qca-table2": tuple(verdicts(table, reported))})

    universe, found = multiverse(), judged()
    done = sweep(FIGURES)
    return Measured(
        folder=folder,
        multiverse=universe,
        sweep=done,
        judged=found,
        effects=effects(found, universe),
        chosen=best(found),
        nested=table,
        held=(
            held("default", found[0], "qca", "qca[alignment=none]"),
            held("chosen", found[2], "qca[similarity=dot]", "qca[alignment=none,similarity=dot]"),
        ),
        table=table,
        records=tuple(records),
    )


def test_a_claim_is_counted_by_reading_and_by_patient(tmp_path: Path) -> None:
    found = measured(tmp_path)
    (count,) = counts(found)
    assert count.text == "qca better than qca[alignment=none] on pcc_hvg"
    assert (count.held, count.measured, dict(count.patients)) == (1, 2, {"A": 2, "B": 1})
    (row,) = claim_cells(found)
    assert [(cell.column, cell.value, cell.shown) for cell in row] == [
        ("default", 1.0, "+0.150"), ("chosen", 0.5, "-0.150"),
    ]  # fmt: skip
    assert [[cell.shown.partition("\n")[0] for cell in row] for row in effect_cells(found)] == [
        ["cosine*", "dot"], ["after*", "inside"],
    ]  # fmt: skip


def test_the_report_says_what_was_chosen_and_is_the_same_each_time(tmp_path: Path) -> None:
    found = measured(tmp_path / "a")
    write_readings(found)
    write_readings(measured(tmp_path / "b"))
    for name in ("readings.md", "readings.json", "readings.png", "readings.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    text = as_markdown(found)
    assert "Chosen on validation: qca[similarity=dot], excess 0.0100; the default's is 0.1000, rank 3 of 4." in text
    assert (
        "| qca-table2 | qca better than qca[alignment=none] on pcc_hvg | 1 of 2 | A 2, B 1 | +0.150 (100%) | -0.150 (50%) |"
        in text
    )
    told = as_dict(found)
    assert told["judged"][3]["excess"] is None
    assert told["judged"][2]["readings"] == {"similarity": "dot", "rounding": "after"}
    assert told["held"][1]["verdicts"][0]["gaps"] == {"A": pytest.approx(0.1), "B": pytest.approx(-0.4)}
    svg = (tmp_path / "a" / "readings.svg").read_text()
    assert "dot" in svg
    assert "-0.150" in svg


PLUGIN = '''
import numpy as np
from pydantic import Field
from qbench.methods.method import Inputs, Method, Parameters

class OffParameters(Parameters):
    by: float = Field(1.0, ge=0, le=9, description="How far it is off.")

class Off(Method):
    """The training mean, off by a constant up and down in turn."""
    name = "shifted"
    Parameters = OffParameters

    @classmethod
    def inputs(cls, parameters):
        return Inputs()

    def fit(self, train, validation, context):
        self.genes = train.genes
        self.mean = train.target.mean(axis=0)

    def predict(self, section):
        sign = 1 - 2 * (np.arange(section.n_spots) % 2)
        return (self.mean + self.parameters.by * sign[:, None]).astype(np.float32)

    def n_parameters(self):
        return 0

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]
'''
OFF = """
method: shifted
points:
  - point: distance
    where: nowhere
    asks: How far?
    readings:
      - {reading: one, settings: {by: 1}, why: so be it}
      - {reading: none, settings: {by: 0}, why: why not}
      - {reading: two, settings: {by: 2}, why: farther}
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    (tmp_path / "readings").mkdir()
    (tmp_path / "readings" / "shifted.yaml").write_text(OFF)
    (tmp_path / "off_plugin.py").write_text(PLUGIN)
    return f"{tmp_path}/off_plugin.py:Off"


def test_a_plug_in_brings_its_readings(plugin: str) -> None:
    load_plugins([plugin])
    assert read_multiverse(parse("shifted")).sample(None, 0) == [("one",), ("none",), ("two",)]


def test_options_of_readings_alone_are_refused_without_it() -> None:
    found = CliRunner().invoke(app, ["ablate", "qca", "--samples", "3"])
    assert isinstance(found.exception, ConfigurationError)
    assert "belong to --readings" in str(found.exception)


@pytest.mark.slow
def test_a_search_of_readings_opens_no_test_side_before_it_has_chosen_and_goes_on(
    plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Ray on a tiny dataset; the second call trains nothing."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    data = make_tiny(tmp_path / "data", side=4)
    args = ["ablate", "shifted", "--readings", "--plugin", plugin, "--dataset", "her2st", "--data-dir", str(data),
            "--out", str(tmp_path / "runs"), "--workers", "1", "--json"]  # fmt: skip
    first = CliRunner().invoke(app, args)
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert [one["readings"]["distance"] for one in told["judged"]] == ["one", "none", "two"]
    assert told["chosen"] == 1
    assert told["judged"][0]["excess"] == pytest.approx(1.0, rel=0.05)
    assert told["judged"][2]["excess"] == pytest.approx(4.0, rel=0.05)
    assert all(table["ceiling"] for table in told["leaderboard"]["tables"])
    rows = {row["method"]: row for row in told["leaderboard"]["tables"][0]["rows"]}
    assert rows["shifted tuned (3 trials)"]["mse"]["mean"] < rows["shifted"]["mse"]["mean"]
    trials = sorted((tmp_path / "runs").rglob("result.json"))
    assert len(trials) == 12
    before = [path.stat().st_mtime_ns for path in trials]
    assert json.loads(CliRunner().invoke(app, args).stdout) == told
    assert [path.stat().st_mtime_ns for path in trials] == before

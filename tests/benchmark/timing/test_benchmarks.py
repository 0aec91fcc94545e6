"""The benchmarks: that they measure what they say, on small inputs."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
import torch
from qbench.benchmark.cli import bench as command
from qbench.benchmark.timing import catalogue, device, encode, measure, retrieve, score, simulated, train
from qbench.errors import ConfigurationError
from qbench.methods import machine
from typer import Typer
from typer.testing import CliRunner


def test_medians_of_alternating_runs() -> None:
    order: list[str] = []

    def ours() -> None:
        order.append("ours")
        time.sleep(0.01)

    def plain() -> None:
        order.append("plain")
        time.sleep(0.04)

    found = measure.alternate(ours, plain, runs=3)
    assert order == ["ours", "plain"] * 4  # one of each is not counted
    assert 0.01 <= found.ours < found.plain
    row = measure.rate("name", "x/s", 2.0, 0.5, 2.0, limit=8.0)
    assert row.as_dict() == {"name": "name", "ours": 4.0, "plain": 1.0, "ratio": 4.0, "unit": "x/s", "limit_share": 0.5}
    assert measure.less("name", "MB", 10.0, 30.0).ratio == 3.0


def test_peak_memory_sees_what_is_freed_again() -> None:
    with measure.PeakMemory() as before:
        pass
    with measure.PeakMemory() as peak:
        values = np.ones(40_000_000, np.uint8)
        time.sleep(0.05)
        del values
    assert 30 < peak.mb - before.mb < 120


def test_operations_of_a_known_network() -> None:
    import torch

    network = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
    assert encode.operations(network, "cpu") == 2 * 224 * 224 * 3 * 4 * 9


@pytest.mark.slow
def test_score_and_retrieve_check_that_both_sides_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SPOTS": 120, "GENES": 30, "SECTIONS": 3, "LOOPED": 10}.items():
        monkeypatch.setattr(score, name, value)
    first, second, memory = score.rows()
    assert first.ratio is not None
    assert second.ratio is not None
    assert first.ratio > 1
    assert memory.unit == "MB"
    for name, value in {"REFERENCES": 3000, "QUERIES": 40, "K": 5}.items():
        monkeypatch.setattr(retrieve, name, value)
    monkeypatch.setattr(measure, "matmul_limit", lambda *_: 1e12)
    monkeypatch.setattr(retrieve, "matmul_limit", lambda *_: 1e12)
    assert retrieve.rows()[0].unit == "queries/s"
    monkeypatch.setattr(score, "_loop", lambda a, b: np.zeros(10))
    with pytest.raises(AssertionError, match="do not agree"):
        score.rows()


def test_the_plain_training_loop_trains_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench.methods.method import FitContext
    from qbench.methods.registry import spec

    cohort = simulated.cohort(2, 24, 8, 6)
    losses = {}
    for side in ("ours", "plain"):
        with pytest.MonkeyPatch.context() as patch:
            if side == "plain":
                patch.setattr("qbench.methods.training.run", train.plain_run)
            described = spec("stnet")
            context = FitContext(max_epochs=4)
            method = described.cls(described.parameters)
            method.fit(cohort, None, context)
            assert method.predict(cohort.sections[0].sealed()).shape == (24, 6)
            losses[side] = [epoch["loss"] for epoch in context.history]
    assert all(len(loss) == 4 and loss[-1] < loss[0] for loss in losses.values())


@pytest.mark.slow
def test_a_paper_profile_is_timed_in_both_precisions_and_the_plain_loop_keeps_the_plain_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qbench.methods.stnet.network import STNetNetwork

    seen = set()
    forward = STNetNetwork.forward

    def watched(network: Any, x: Any) -> Any:
        seen.add((x.is_contiguous(), torch.is_autocast_enabled("cpu")))
        return forward(network, x)

    monkeypatch.setattr(machine, "has_compiler", lambda: False)
    monkeypatch.setitem(train.SIZES, "paper", (1, 4, 32, 2))
    monkeypatch.setattr(train, "alternate", lambda ours, plain: measure.alternate(ours, plain, runs=1))
    monkeypatch.setattr(train, "matmul_limit", lambda *_: 1e12)
    monkeypatch.setattr(STNetNetwork, "forward", watched)
    found = train.rows("paper", "cpu", ("stnet",))
    assert [(row.unit, "bf16" in row.name) for row in found] == [
        ("epochs/s", False), ("MB", False), ("epochs/s", True), ("MB", True)
    ]  # fmt: skip
    assert all(row.limit_share is not None and 0 < row.limit_share < 1 for row in found[::2])
    assert seen == {(layout, cast) for layout in (False, True) for cast in (False, True)}


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [measure.Row("a", 1234.5, 1.0, 1234.5, "x/s", 0.25), measure.Row("b", 3.0, None, None, "MB")]
    asked = []
    monkeypatch.setattr(catalogue, "measure", lambda *given: asked.append(given) or rows)
    app = Typer()
    app.callback()(lambda: None)
    command.add(app)
    done = CliRunner().invoke(app, ["bench", "encode", "--runtime", "eager", "--json"])
    assert asked == [("encode", "eager", "auto", "fast")]
    assert json.loads(done.output) == {"schema": 1, "rows": [row.as_dict() for row in rows]}
    shown = CliRunner().invoke(app, ["bench", "read"], env={"COLUMNS": "120"}).output
    assert "1,234" in shown
    assert "25 %" in shown


def test_an_unknown_benchmark() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'encode'"):
        catalogue.measure("encod")


def test_a_devices_row_of_training_is_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "matmul_limit", lambda *given: 1e12)
    steps, memory = device._training("stnet", "fast", 80, "cpu", compiled=False)
    assert (steps.name, steps.unit) == ("train stnet (fast), fp32, batch 32", "steps/s")
    assert steps.ratio == pytest.approx(steps.ours / steps.plain)
    assert 0 < steps.limit_share < 1
    assert (memory.unit, memory.ours) == ("MB", 0.0)  # a CPU has no memory of a device

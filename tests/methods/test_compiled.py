"""Compiled training steps: the same network within rounding, compiled for full batches alone, refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import compiled, machine, registry
from qbench.methods.compiled import compile_steps
from qbench.methods.method import FitContext

from ..support.method_cohorts import linear_cohort, sealed

pytestmark = pytest.mark.slow

needs_compiler = pytest.mark.skipif(not machine.has_compiler(), reason="needs a C++ compiler and Python's headers")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))


class Tiny(torch.nn.Module):
    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.layer(x))).mean(dim=(2, 3))


@needs_compiler
def test_a_fit_with_compiled_steps_is_that_of_eager_ones_within_rounding_and_repeats_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qbench.methods.encoders.build.build_network", lambda *_, **__: Tiny())
    train, validation = linear_cohort(0, {"A1": 20}, patch=32), linear_cohort(1, {"B1": 12}, patch=32)
    settings = {"projection": 16, "k": 5, "backbone": "resnet18", "batch_size": 8, "dropout": 0.0}
    found = {}
    for name, wanted in (("eager", False), ("compiled", True), ("again", True)):
        method = registry.spec("bleep", settings, "paper").build()
        method.fit(train, validation, FitContext(backbone="random", max_epochs=3, compiled=wanted))
        found[name] = method.predict(sealed(validation.sections[0]))
        assert all("_orig_mod" not in key for key in method.state()), (
            "a saved model does not depend on how it was trained"
        )
    np.testing.assert_allclose(found["compiled"], found["eager"], atol=1e-3)
    np.testing.assert_array_equal(found["compiled"], found["again"])


def test_only_full_batches_in_training_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def stand_in(function, **_):
        return lambda x: (calls.append(len(x)), function(x))[1]

    monkeypatch.setattr(compiled, "compiled", stand_in)
    network = Tiny()
    compile_steps(network, rows=4)
    for rows in (4, 3, 4):
        network(torch.randn(rows, 3, 8, 8))
    network.eval()
    network(torch.randn(4, 3, 8, 8))
    assert calls == [4, 4]


@pytest.mark.parametrize(
    ("raised", "expected", "text"),
    [
        (RuntimeError("no compiler\nlong story"), MethodError, "cannot be compiled on this machine .no compiler.*--runtime eager"),
        (RuntimeError("CUDA out of memory"), RuntimeError, "out of memory"),
        (MemoryError("more than is free"), MemoryError, "free"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_named(
    raised: Exception, expected: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise raised

    monkeypatch.setattr(compiled, "compiled", lambda function, **_: broken)
    network = Tiny()
    compile_steps(network, rows=2)
    with pytest.raises(expected, match=text):
        network(torch.randn(2, 3, 8, 8))


def test_steps_are_compiled_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_compiler", lambda: True)
    long = machine.COMPILE_FROM
    assert machine.choose_steps("auto", "cpu", "fp32", "resnet50", long) == "compiled"
    assert machine.choose_steps("openvino", "cpu", "fp32", "resnet50", long) == "compiled"
    assert machine.choose_steps("auto", "cpu", "fp32", "resnet50", long - 1) == "eager"
    assert machine.choose_steps("auto", "cpu", "bf16", "resnet50", long) == "eager"
    assert machine.choose_steps("auto", "cuda", "fp32", "resnet50", long) == "eager"
    assert machine.choose_steps("eager:fp32", "cpu", "fp32", "resnet50", long) == "eager"
    assert machine.choose_steps("compiled", "cuda", "bf16", "resnet50", 1) == "compiled"
    assert machine.choose_steps("auto", "cpu", "fp32", "densenet121", long) == "eager"
    monkeypatch.setattr(machine, "has_compiler", lambda: False)
    assert machine.choose_steps("auto", "cpu", "fp32", "resnet50", long) == "eager"

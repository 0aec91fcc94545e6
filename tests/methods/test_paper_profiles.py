"""The `paper` paths of the methods that tune a backbone, on small patches and a small backbone."""

from __future__ import annotations

import numpy as np
import pytest
from qbench.methods import registry
from qbench.methods.method import FitContext, Inputs

from ..support.method_cohorts import linear_cohort, sealed

pytestmark = pytest.mark.slow

SETTINGS = {
    "qca": {"hidden": (16,), "latent": 8, "recon_levels": (0, 1, 2)},
    "bleep": {"projection": 16, "k": 5},
    "stnet": {},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_tuned_backbone_trains_saves_and_predicts_the_same_bits(name: str, precision: str, tmp_path):
    train, validation = linear_cohort(0, {"A1": 20}, patch=32), linear_cohort(1, {"B1": 12}, patch=32)
    settings = {**SETTINGS[name], "backbone": "resnet18", "batch_size": 8, "augment": True}
    spec = registry.spec(name, settings, "paper")
    assert spec.cls.inputs(spec.parameters) == Inputs(patches=True, backbone="resnet18")
    method, context = spec.build(), FitContext(backbone="random", max_epochs=2, precision=precision)
    method.fit(train, validation, context)
    assert len(context.history) == 2
    section = sealed(validation.sections[0])
    prediction = method.predict(section)
    assert prediction.shape == (12, 9)
    assert prediction.dtype == np.float32
    method.save(tmp_path / "m")
    np.testing.assert_array_equal(registry.load_method(tmp_path / "m").predict(section), prediction)
    untrained = spec.build()
    untrained.fit(train, validation, FitContext(backbone="random", max_epochs=2, precision=precision, seed=1))
    assert not np.array_equal(untrained.predict(section), prediction), "the seed draws the random weights"


def test_published_backbones_and_schedules_are_the_paper_profiles():
    found = {name: registry.spec(name, profile="paper").parameters for name in ("qca", "bleep", "stnet", "histogene")}
    assert [found[n].backbone for n in ("qca", "bleep", "stnet")] == ["ctranspath", "resnet50", "densenet121"]
    bleep, stnet, histogene = found["bleep"], found["stnet"], found["histogene"]
    assert (bleep.optimiser, bleep.learning_rate, bleep.weight_decay, bleep.epochs, bleep.k) == (
        "adamw",
        1e-3,
        1e-3,
        4,
        50,
    )
    assert (stnet.optimiser, stnet.momentum, stnet.batch_size, stnet.epochs) == ("sgd", 0.9, 32, 50)
    assert (histogene.depth, histogene.heads, histogene.mlp, histogene.learning_rate) == (8, 16, 2048, 1e-5)

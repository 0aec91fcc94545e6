"""A large section's values are computed again for the gradients: the fit is that of values which are kept."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from qbench.methods import registry
from qbench.methods.method import FitContext, Method
from torch.utils import checkpoint

from ..support.method_cohorts import linear_cohort, sealed

SMALL = {
    "hist2st": {"dim": 16, "depth": 1, "heads": 2, "head_dim": 8, "mlp": 16, "patch_size": 14, "bake": 2},
    "thitogene": {
        "capsules": 3,
        "capsule_length": 4,
        "depth": 1,
        "heads": 2,
        "head_dim": 4,
        "mlp": 8,
        "patch_size": 44,
    },
}
MODULES = {"hist2st": ("hist2st.network",), "thitogene": ("thitogene.network", "thitogene.capsules")}


@pytest.mark.parametrize(
    ("name", "kept_spots", "least"),
    [("hist2st", 5, 10), ("hist2st", 20, 5), ("thitogene", 5, 10)],  # of 14; of 20 and more, hist2st's views alone
)
def test_a_fit_is_the_same_whether_values_are_kept_or_computed_again(
    name: str, kept_spots: int, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = linear_cohort(0, {"A1": 14}, patch=SMALL[name]["patch_size"])
    context = FitContext(max_epochs=2)

    def fit() -> Method:
        method = registry.spec(name, {**SMALL[name], "inputs": "pixels", "learning_rate": 1e-4}).build()
        method.fit(train, None, context)
        return method

    kept, passes = fit(), []
    real = checkpoint.checkpoint
    for module in MODULES[name]:
        monkeypatch.setattr(import_module(f"qbench.methods.{module}"), "KEPT", kept_spots)
    monkeypatch.setattr(
        "qbench.methods.sections.recompute.checkpoint", lambda *a, **k: passes.append(1) or real(*a, **k)
    )
    again = fit()
    assert len(passes) > least
    for (what, before), after in zip(
        kept.network.state_dict().items(), again.network.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-6, msg=lambda found, what=what: f"{what}: {found}")
    section, passed = sealed(train.sections[0]), len(passes)
    np.testing.assert_allclose(again.predict(section), kept.predict(section), rtol=1e-4, atol=1e-5)
    assert len(passes) == passed, "a prediction has no gradients to compute anything again for"

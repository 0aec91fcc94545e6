"""A tuned backbone where nothing is learned: in bf16 or through OpenVINO, held against fp32, kept with the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qbench.errors import MethodError
from qbench.methods import registry
from qbench.methods.encoders.agreement import Agreement
from qbench.methods.images import evaluation
from qbench.methods.images.evaluation import evaluated, open_pass, passing
from qbench.methods.images.side import ImageSide
from qbench.methods.machine import EXACT, choose_evaluation
from qbench.methods.method import FitContext

from ..support.method_cohorts import linear_cohort, sealed

SETTINGS = {"backbone": "resnet18", "batch_size": 8, "average": True, "learning_rate": 0.05}
TRAIN, VALIDATION = linear_cohort(0, {"A1": 18}, patch=32), linear_cohort(1, {"B1": 12}, patch=32)
SECTION = sealed(VALIDATION.sections[0])


def fitted(how: str) -> tuple[Any, FitContext]:
    method = registry.spec("stnet", SETTINGS, "paper").build()
    context = FitContext(backbone="random", max_epochs=1, evaluation=how)
    method.fit(TRAIN, VALIDATION, context)
    return method, context


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)) / other.std())


@pytest.mark.slow
def test_predictions_go_through_the_runtime_and_a_saved_model_knows_it(tmp_path):
    pytest.importorskip("openvino")
    exact, _ = fitted(EXACT)
    plain = exact.predict(SECTION)
    method, context = fitted("openvino:fp32")
    assert not context.warnings
    found = method.predict(SECTION)
    assert 0 < apart(found, plain) < 1e-3  # another library's sums of the same weights
    method.save(tmp_path / "m")
    loaded = registry.load_method(tmp_path / "m")
    assert loaded.evaluation == "openvino:fp32"
    np.testing.assert_array_equal(loaded.predict(SECTION), found)
    loaded.evaluate_in(EXACT)
    np.testing.assert_array_equal(loaded.predict(SECTION), plain)
    loaded.evaluate_in("eager:bf16")
    assert 1e-4 < apart(loaded.predict(SECTION), plain) < 0.25


def test_fp32_is_as_ever_and_writes_nothing_new():
    method, _ = fitted(EXACT)
    assert "image.evaluation" not in method.state()
    assert "forward" not in method.network.backbone.__dict__


def test_what_lies_too_far_from_fp32_is_left_to_fp32_and_said(monkeypatch, tmp_path):
    exact, _ = fitted(EXACT)
    monkeypatch.setattr(evaluation, "agreement", lambda *_: Agreement(0.5, 0.1))
    method, context = fitted("eager:bf16")
    assert [text.split(",")[0] for text in context.warnings] == [
        f"stnet validates in {EXACT}",
        f"stnet predicts in {EXACT}",
    ]
    assert "a cosine of 0.50000 to its fp32 features" in context.warnings[1]
    assert method.evaluation == EXACT
    np.testing.assert_array_equal(method.predict(SECTION), exact.predict(SECTION))
    method.evaluate_in("eager:bf16")  # asked for anew, of a fitted model: refused
    with pytest.raises(MethodError, match="use --runtime eager:fp32"):
        method.predict(SECTION)


def test_the_pass_of_lite_keeps_its_sensitive_stages_in_fp32():
    side = ImageSide("efficientnet_lite0", np.full(3, 0.5), np.full(3, 0.2), patch_size=32)
    backbone = side.build_backbone("random")
    assert backbone is not None
    seen: list[torch.dtype] = []
    backbone.blocks[0].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    backbone.blocks[4].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    x = torch.randn(4, 3, 32, 32)
    with evaluated(backbone), torch.inference_mode():
        exact = backbone(x)
        seen.clear()
        with passing(backbone, open_pass(backbone, side, "eager:bf16", TRAIN)):
            found = backbone(x)
    assert seen == [torch.float32, torch.bfloat16]
    assert found.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(found, exact).min() > 0.99


def test_on_a_gpu_the_model_passes_through_torch():
    method = registry.spec("stnet", SETTINGS, "paper").build()
    method._image = ImageSide("resnet18", np.zeros(3), np.ones(3), 32, "openvino:bf16")
    method.to("meta")
    assert method.evaluation == "eager:bf16"


@pytest.mark.parametrize(("runtime", "expected"), [("eager:fp32", EXACT), ("compiled:bf16", "eager:bf16")])
def test_compiled_is_of_the_training_steps(runtime: str, expected: str):
    assert choose_evaluation(runtime, "cpu") == expected


@pytest.mark.parametrize("kept", [b"eager", b"fastest:fp32", b"openvino:int8", b"\xff:fp32"])
def test_a_model_with_an_unknown_runtime_is_refused(kept: bytes):
    state = ImageSide("resnet18", np.zeros(3), np.ones(3), 32, "eager:bf16").state()
    assert ImageSide.restore(dict(state), "resnet18").evaluation == "eager:bf16"
    with pytest.raises(MethodError, match="Expected a model whose backbone runs through eager or openvino"):
        ImageSide.restore(state | {"image.evaluation": np.frombuffer(kept, np.uint8)}, "resnet18")

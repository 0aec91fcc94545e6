"""How the tensors of public repositories are called there, and where each belongs in a method of ours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .encoders.registry import card
from .hist2st.parameters import LEAST_CHANNELS, STRIDE

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, NDArray[Any]]
_PATCH = 224  # pixels, of the two public codes with a convolutional backbone


@dataclass(frozen=True)
class Layout:
    """A public layout: our names of its tensors, and what their shapes and our method need beside them.

    Attributes:
        names: (pattern, replacement) of full public names, the first that matches counts.
        genes: public tensor and axis that run over the genes.
        settings: parameters that the shapes decide.
        extra: arrays that our method stores beside the network.
    """

    names: tuple[tuple[str, str], ...]
    genes: tuple[str, int]
    settings: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    extra: Callable[[Mapping[str, Tensor]], Arrays]

    def rename(self, name: str) -> str | None:
        """Our name of a public tensor, None where there is none."""
        for pattern, replacement in self.names:
            if match := re.fullmatch(pattern, name):
                return match.expand(replacement)
        return None


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({match[1] for key in state if (match := re.match(r"vit\.transformer\.layers\.(\d+)\.", key))})


def _histogene_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    dim, inputs = state["patch_embedding.weight"].shape
    heads = state["vit.transformer.layers.0.0.fn.to_qkv.weight"].shape[0] // (3 * 64)
    return {
        "dim": dim,
        "patch_size": math.isqrt(inputs // 3),
        "positions": state["x_embed.weight"].shape[0],
        "depth": _depth(state),
        "heads": heads,
        "mlp": state["vit.transformer.layers.0.1.fn.net.0.weight"].shape[0],
    }


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different first groups the names have that the pattern matches."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def _hist2st_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    inside = r"vit\.transformer\."
    channels, dim = state["patch_embedding.weight"].shape[0], state["x_embed.weight"].shape[1]
    return {
        "dim": dim,
        "channels": channels,
        "patch_size": STRIDE * math.isqrt(dim * LEAST_CHANNELS // channels),
        "mixers": _count(state, inside + r"layer1\.(\d+)\."),
        "mixer_kernel": state["vit.transformer.layer1.0.dw.0.weight"].shape[-1],
        "depth": _count(state, inside + r"layer2\.(\d+)\."),
        "heads": state["vit.transformer.layer2.0.attn.fn.to_qkv.weight"].shape[0] // (3 * 64),
        "mlp": state["vit.transformer.layer2.0.ff.fn.net.0.weight"].shape[0],
        "graph_layers": _count(state, inside + r"layer3\.(\d+)\."),
        "lstm_layers": _count(state, inside + r"jknet\.0\.weight_ih_l(\d+)"),
        "positions": state["x_embed.weight"].shape[0],
        **({} if "mean.0.weight" in state else {"zinb": 0.0}),
        **({} if "coef.0.weight" in state else {"bake": 0}),
    }


def _normalisation(backbone: str) -> Arrays:
    found = card(backbone)
    return {
        "image.mean": np.array(found.mean),
        "image.sd": np.array(found.std),
        "image.patch_size": np.array(_PATCH),
    }


def _bleep_extra(state: Mapping[str, Tensor]) -> Arrays:
    width, genes = state["spot_projection.projection.weight"].shape
    return {
        **_normalisation("resnet50"),
        "reference.embedding": np.zeros((0, width), dtype=np.float32),
        "reference.expression": np.zeros((0, genes), dtype=np.float32),
    }


LAYOUTS = {
    "stnet": Layout(
        names=((r"features\.(.+)", r"backbone.features.\1"), (r"classifier\.(weight|bias)", r"classifier.\1")),
        genes=("classifier.weight", 0),
        settings=lambda state: {},
        extra=lambda state: _normalisation("densenet121"),
    ),
    "histogene": Layout(
        names=(
            (r"patch_embedding\.(weight|bias)", r"embedding.\1"),
            (r"([xy])_embed\.weight", r"\1_embedding.weight"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.norm\.(\w+)", r"blocks.\1.attention_norm.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.fn\.to_qkv\.weight", r"blocks.\1.attention.qkv.weight"),
            (r"vit\.transformer\.layers\.(\d+)\.0\.fn\.to_out\.0\.(\w+)", r"blocks.\1.attention.out.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.1\.norm\.(\w+)", r"blocks.\1.mlp_norm.\2"),
            (r"vit\.transformer\.layers\.(\d+)\.1\.fn\.net\.([03])\.(\w+)", r"blocks.\1.mlp.\2.\3"),
            (r"gene_head\.0\.(\w+)", r"head_norm.\1"),
            (r"gene_head\.1\.(\w+)", r"head.\1"),
        ),
        genes=("gene_head.1.weight", 0),
        settings=_histogene_settings,
        extra=lambda state: {},
    ),
    "hist2st": Layout(
        names=(
            (r"patch_embedding\.(weight|bias)", r"embedding.squares.\1"),
            (r"([xy])_embed\.weight", r"\1_embedding.weight"),
            (r"vit\.transformer\.layer1\.(\d+)\.dw\.(\d)\.(\w+)", r"embedding.mixers.\1.depthwise.\2.\3"),
            (r"vit\.transformer\.layer1\.(\d+)\.pw\.(\d)\.(\w+)", r"embedding.mixers.\1.pointwise.\2.\3"),
            (r"vit\.transformer\.down\.0\.(\w+)", r"embedding.down.\1"),
            (r"vit\.transformer\.layer2\.(\d+)\.attn\.norm\.(\w+)", r"blocks.\1.attention_norm.\2"),
            (r"vit\.transformer\.layer2\.(\d+)\.attn\.fn\.to_qkv\.weight", r"blocks.\1.attention.qkv.weight"),
            (r"vit\.transformer\.layer2\.(\d+)\.attn\.fn\.to_out\.0\.(\w+)", r"blocks.\1.attention.out.\2"),
            (r"vit\.transformer\.layer2\.(\d+)\.ff\.norm\.(\w+)", r"blocks.\1.mlp_norm.\2"),
            (r"vit\.transformer\.layer2\.(\d+)\.ff\.fn\.net\.([03])\.(\w+)", r"blocks.\1.mlp.\2.\3"),
            (r"vit\.transformer\.layer3\.(\d+)\.weight", r"graph.\1.weight"),
            (r"vit\.transformer\.jknet\.0\.(\w+)", r"jump.\1"),
            (r"gene_head\.0\.(\w+)", r"head_norm.\1"),
            (r"gene_head\.1\.(\w+)", r"head.\1"),
            (r"mean\.0\.(\w+)", r"counts.mean.\1"),
            (r"disp\.0\.(\w+)", r"counts.dispersion.\1"),
            (r"pi\.0\.(\w+)", r"counts.zero.\1"),
            (r"coef\.([02])\.(\w+)", r"view_score.\1.\2"),
        ),
        genes=("gene_head.1.weight", 0),
        settings=_hist2st_settings,
        extra=lambda state: {},
    ),
    "bleep": Layout(
        names=(
            (r"image_encoder\.model\.(.+)", r"image_encoder.\1"),
            (r"((?:image|spot)_projection\.(?:projection|fc|layer_norm)\.(?:weight|bias))", r"\1"),
        ),
        genes=("spot_projection.projection.weight", 1),
        settings=lambda state: {"projection": state["spot_projection.projection.weight"].shape[0]},
        extra=_bleep_extra,
    ),
}

"""Networks of the encoders: timm models without a classifier, their weights placed strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from torch import Tensor, nn

from ...errors import ConfigurationError, DataError
from . import ctranspath, hipt, lite
from .card import EncoderCard
from .conch import ConchHead
from .embedding import Embedding
from .layouts import LAYOUTS, TIMM_READS, in_words, recognise
from .registry import Weights, card
from .timm_names import HUB, hub_description
from .weights import difference, load_strictly, read_state_dict


def build_network(name: str, weights: Weights, *, seed: int = 0, image_size: int | None = None) -> nn.Module:
    """An encoder's network: float (b, 3, size, size), normalised -> float (b, d), pooled; fp32, on the CPU, in eval mode.

    Args:
        name: as in `registry.resolve`.
        weights: its `EncoderSpec.weights`: a file, or "random" (drawn with `seed`).
        seed: of random weights; without effect otherwise.
        image_size: edge of the patches in pixels, for networks with position tables; the encoder's own if None.

    Raises:
        ConfigurationError: a network that is no encoder, or does not read patches of this size.
        DataError: weights that do not fit; the message names the keys.
    """
    found = card(name)
    size = image_size or found.input_size
    if found.fixed_input and size != found.input_size:
        raise ConfigurationError(
            f"Encoder '{name}' reads patches of {found.input_size} px, but these have {size}; make patches of "
            f"{found.input_size} px or choose another encoder."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = _create(name, found, size)
        network = _with_head(trunk, found)
    if weights != "random":
        state = read_state_dict(weights)
        _load(network if found.tokens == "attention" else trunk, name, found, state, str(weights), size)
    if found.until is not None:
        _cut(trunk, found.until)
    return network.eval()


def _with_head(trunk: nn.Module, found: EncoderCard) -> nn.Module:
    if found.tokens == "attention":
        return Embedding(trunk, found, ConchHead(found.loader, int(trunk.num_features), int(found.dim or 0)))  # type: ignore[arg-type]
    return trunk if found.tokens == "pooled" and found.resize is None else Embedding(trunk, found)


def _cut(network: nn.Module, last: str) -> None:
    """Leave out the stages of a ResNet behind `last`; what they would have made is pooled in their stead."""
    stages = [f"layer{i}" for i in range(1, 5)]
    for stage in stages[stages.index(last) + 1 :]:
        setattr(network, stage, nn.Identity())
    network.num_features = next(info["num_chs"] for info in network.feature_info if info["module"] == last)  # type: ignore[union-attr]


def _create(name: str, found: EncoderCard, size: int, **arguments: Any) -> nn.Module:
    if found.timm_name is None:
        raise ConfigurationError(f"Encoder '{name}' has no network to build; choose one of timm's.")
    if found.loader == "ctranspath":
        return ctranspath.create_ctranspath()
    if found.loader == "hipt":
        return hipt.Hipt()
    if name.startswith(HUB):
        arguments = {**hub_description(name)[2], **arguments}
    described = timm.get_pretrained_cfg(found.timm_name)
    if described is not None and described.fixed_input_size:
        arguments["img_size"] = size
    arguments = {"num_classes": 0, **arguments, **found.arguments}
    if found.swiglu:
        arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    try:
        network: nn.Module = timm.create_model(found.timm_name, **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(
            f"timm cannot build '{found.timm_name}' for patches of {size} px: {error}; choose another encoder."
        ) from error
    return network


def _load(network: nn.Module, name: str, found: EncoderCard, state: dict[str, Tensor], origin: str, size: int) -> None:
    if found.loader == "ctranspath":
        load_strictly(network, ctranspath.to_timm(state), origin)
        return
    if found.loader == "hipt":
        load_strictly(network, hipt.to_hipt(state, origin), origin)
        return
    if found.loader == "lite" and lite.is_package_layout(state):
        state = lite.to_timm(state, network)
    state = _in_timms_names(network, name, found, state, origin)
    if found.tokens != "head":
        state = _without_classifier(network, state)
    if not difference(network, state) or "timm_filter" not in found.layouts:
        load_strictly(network, state, origin)
        return
    # Older layouts, and tables for another patch size, are what timm's own filters translate.
    translated = _through_timm(name, found, state, size)
    if translated is None:
        load_strictly(network, state, origin)
    else:
        load_strictly(network, translated, origin)


def _in_timms_names(
    network: nn.Module, name: str, found: EncoderCard, state: dict[str, Tensor], origin: str
) -> dict[str, Tensor]:
    layout = recognise(state)
    if layout in found.layouts and layout is not None:
        return LAYOUTS[layout].to_timm(state, network)
    if layout is None and not {"timm", "timm_filter"} & set(found.layouts):
        raise DataError(
            f"Expected weights of encoder '{name}' in the layout of {in_words(found.layouts)} in {origin}, but its names are "
            "none of that; give the file that its card names."
        )
    if layout is not None and ("timm_filter" not in found.layouts or layout not in TIMM_READS):
        raise DataError(
            f"Expected weights of encoder '{name}' in the layout of {in_words(found.layouts)} in {origin}, but found that of "
            f"{LAYOUTS[layout].what}; use the encoder that reads it (see qbench list encoders), or give this one's file."
        )
    return state


def _without_classifier(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    described = getattr(network, "pretrained_cfg", None) or {}
    heads = described.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    dropped = {f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")}
    return {k: v for k, v in state.items() if k not in dropped}


def _through_timm(name: str, found: EncoderCard, state: dict[str, Tensor], size: int) -> dict[str, Tensor] | None:
    """The state after timm's filter for this family, or None where it cannot make it fit."""
    # With the classes of file and network said to be equal, timm loads strictly instead of in silence.
    overlay: dict[str, Any] = {"state_dict": dict(state), "num_classes": 0, "label_offset": 0}
    try:
        loaded = _create(name, found, size, pretrained=True, pretrained_cfg_overlay=overlay)
    except (RuntimeError, KeyError, ConfigurationError):
        return None
    return dict(loaded.state_dict())

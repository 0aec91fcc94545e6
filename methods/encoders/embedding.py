"""From a transformer's tokens to features, and from patches of any size to the pixels that a network reads."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .card import EncoderCard


class Embedding(nn.Module):
    """A network with what comes before and after it: float (b, 3, h, w), normalised -> float (b, d).

    Args:
        trunk: timm's network without a classifier (or with the projection that is the embedding).
        found: the encoder's card.
        head: float (b, n, width) -> (b, d) over all tokens; for `tokens: attention`.
    """

    def __init__(self, trunk: nn.Module, found: EncoderCard, head: nn.Module | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.tokens = found.tokens
        self.resize = None if found.resize is None else Resize(found)
        width = int(trunk.num_features)  # type: ignore[arg-type]
        # Methods and runtimes ask networks for their width by timm's name.
        self.num_features = found.dim or (2 * width if found.tokens == "cls_mean" else width)

    def forward(self, x: Tensor) -> Tensor:
        """Float (b, 3, h, w) -> (b, d)."""
        if self.resize is not None:
            x = self.resize(x)
        if self.tokens in ("pooled", "head"):
            features: Tensor = self.trunk(x)
            return features
        tokens = self.trunk.forward_features(x)  # type: ignore[operator]
        if self.head is not None:
            pooled: Tensor = self.head(tokens)
            return pooled
        return pool(tokens, self.tokens, int(self.trunk.num_prefix_tokens))  # type: ignore[arg-type]


class Resize(nn.Module):
    """Patches brought to one edge as Pillow resizes them (bicubic with a = -.5), then their centre: float (b, 3, e, e).

    The two steps of the authors' transforms are done on normalised values: both are linear in each channel, and values
    outside 0..255, which bicubic makes at sharp edges, are clipped as Pillow clips them. Pillow rounds to whole numbers.
    """

    low: Tensor
    high: Tensor

    def __init__(self, found: EncoderCard) -> None:
        super().__init__()
        self.edge = int(found.resize or found.input_size)
        self.crop = found.crop or self.edge
        self.mode = found.interpolation
        mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (found.mean, found.std))
        self.register_buffer("low", -mean / std, persistent=False)
        self.register_buffer("high", (1 - mean) / std, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Float (b, 3, h, w) -> (b, 3, crop, crop)."""
        if x.shape[-1] != self.edge:
            x = F.interpolate(x, size=(self.edge, self.edge), mode=self.mode, align_corners=False, antialias=True)
            x = torch.minimum(torch.maximum(x, self.low), self.high)
        start = (self.edge - self.crop) // 2
        return x[..., start : start + self.crop, start : start + self.crop]


def pool(tokens: Tensor, how: Literal["cls", "cls_mean", "mean"] | str, prefix: int) -> Tensor:
    """Features of tokens (b, n, d), of which the first `prefix` are the class token and registers: (b, d), or (b, 2 d).

    Raises:
        ValueError: another way of pooling.
    """
    patches = tokens[:, prefix:].mean(dim=1)
    if how == "mean":
        return patches
    if how == "cls_mean":
        return torch.cat([tokens[:, 0], patches], dim=1)
    if how == "cls":
        return tokens[:, 0]
    raise ValueError(f"no way of pooling tokens is called {how}")

"""CONCH's two releases: a ViT whose tokens a learned query pools by attention, then a layer norm.

Sources: Lu et al. 2024, Nature Medicine 30; mahmoodlab/CONCH (the first: ViT-B/16, 512 features before the projection onto
text, which is not applied); mahmoodlab/TITAN and TRIDENT (v1.5: ViT-L/16, 768 features).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_HEADS = 8


class AttentionPool(nn.Module):
    """Of the first release: torch's own attention with one query; float (b, n, width) -> (b, d)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.attn = nn.MultiheadAttention(dim, _HEADS, kdim=width, vdim=width, batch_first=True)
        self.ln_q = nn.LayerNorm(dim)
        self.ln_k = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Float (b, n, width) -> (b, d)."""
        # With the module's weights but not its forward, which OpenVINO traces for one batch size alone.
        attn, keys = self.attn, self.ln_k(tokens)
        q_bias, k_bias, v_bias = attn.in_proj_bias.chunk(3)
        query = F.linear(self.ln_q(self.query)[None], attn.q_proj_weight, q_bias)
        k, v = F.linear(keys, attn.k_proj_weight, k_bias), F.linear(keys, attn.v_proj_weight, v_bias)
        return F.linear(_attended(query, k, v), attn.out_proj.weight, attn.out_proj.bias)


class AttentionPool15(nn.Module):
    """Of v1.5: linear maps without biases; float (b, n, width) -> (b, d)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, dim))
        self.ln_q = nn.LayerNorm(dim)
        self.ln_k = nn.LayerNorm(width)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Float (b, n, width) -> (b, d)."""
        k, v = self.to_kv(self.ln_k(tokens)).chunk(2, dim=-1)
        return F.linear(_attended(self.to_q(self.ln_q(self.query)[None]), k, v), self.to_out.weight)


class ConchHead(nn.Module):
    """Attention pooling and a layer norm: float (b, n, width) -> (b, d); `release` is "conch" or "conch_v1_5"."""

    def __init__(self, release: str, width: int, dim: int) -> None:
        super().__init__()
        pooling = AttentionPool if release == "conch" else AttentionPool15
        self.attn_pool_contrast = pooling(width, dim)
        self.ln_contrast = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Float (b, n, width) -> (b, d)."""
        pooled: Tensor = self.ln_contrast(self.attn_pool_contrast(tokens))
        return pooled


def _attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one query (1, 1, d) over keys and values (b, n, d), in heads: float (b, d)."""
    q, k, v = (x.unflatten(-1, (_HEADS, x.shape[-1] // _HEADS)).transpose(1, 2) for x in (query, keys, values))
    weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1)
    pooled: Tensor = (weights @ v).flatten(1)
    return pooled


def from_coca(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower of the first release's file, under the names of `Embedding`; text, captions and projections are dropped."""
    dropped = ("text.", "text_decoder.", "visual.attn_pool_caption.", "visual.ln_caption.")
    kept = {
        k: v for k, v in state.items() if not k.startswith(dropped) and k not in ("logit_scale", "visual.proj_contrast")
    }
    return {_placed(name.removeprefix("visual.")): tensor for name, tensor in kept.items()}


def from_conch15(state: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
    """The file of v1.5 under the names of `Embedding`, its table of positions enlarged to `grid` x `grid`.

    The published forward enlarges it with every call, bicubic by the factor (grid + 0.1) / old; once at loading is the same.
    """
    placed = {_placed(name): tensor for name, tensor in state.items()}
    table = placed.get("trunk.pos_embed")
    if table is not None and table.ndim == 3 and table.shape[1] != grid**2 + 1:
        old = round((table.shape[1] - 1) ** 0.5)
        if old**2 + 1 == table.shape[1]:  # another length is left for the strict loading to name
            patches = table[:, 1:].float().unflatten(1, (old, old)).permute(0, 3, 1, 2)
            factor = (grid + 0.1) / old
            larger = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
            placed["trunk.pos_embed"] = torch.cat([table[:, :1], larger.flatten(2).transpose(1, 2)], dim=1)
    return placed


def _placed(name: str) -> str:
    return name if name.startswith("trunk.") else f"head.{name}"

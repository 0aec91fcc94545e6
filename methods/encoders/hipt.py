"""HIPT (Chen et al., CVPR 2022): a ViT of tiles and one over their tokens, as a grid of 16 px cells.

Source: mahmoodlab/HIPT; how the two become features of a cell is iStar's (daviddaiweizhang/istar). The weights are a local file
in the layout of the authors' HIPT_4K: names that begin with `model256.` and `model4k.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from ...errors import DataError

CELL = 16  # px along a cell's edge: the tokens of the tiles' ViT
TILE = 256  # px along a tile's edge
LOCAL, CONTEXT = 384, 192  # widths of the two ViTs
WIDTH = CONTEXT + LOCAL + 3  # of a cell
SMOOTH = {"context": 16, "local": 4}  # cells along the edge of the box that each is averaged over
_EPS = 1e-6


class TileGrid(nn.Module):
    """ViT-4K (xs): a class token of each tile -> a token that knows the others; its position table is of 14 x 14."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, CONTEXT))
        self.pos_embed = nn.Parameter(torch.randn(1, 14 * 14 + 1, CONTEXT) * 0.02)
        self.phi = nn.Sequential(nn.Linear(LOCAL, CONTEXT), nn.GELU())
        norm = partial(nn.LayerNorm, eps=_EPS)
        self.blocks = nn.Sequential(
            *(Block(CONTEXT, 6, qkv_bias=True, norm_layer=norm) for _ in range(6))  # type: ignore[arg-type]
        )
        self.norm = norm(CONTEXT)

    def forward(self, tiles: Tensor) -> Tensor:
        """Float (b, h, w, 384) -> (b, h, w, 192)."""
        b, h, w, _ = tiles.shape
        table = self.pos_embed[:, 1:].reshape(1, 14, 14, CONTEXT).permute(0, 3, 1, 2)
        if (h, w) != (14, 14):
            table = interpolate(table, size=(h, w), mode="bicubic")
        x = self.phi(tiles).reshape(b, h * w, CONTEXT) + table.flatten(2).transpose(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(b, -1, -1)
        out: Tensor = self.norm(self.blocks(torch.cat([first, x], dim=1)))[:, 1:].reshape(b, h, w, CONTEXT)
        return out


class Hipt(nn.Module):
    """float (b, 3, size, size), normalised with mean and sd .5 -> (b, 579), the mean over the cells.

    A patch is cut into as many whole tiles of 256 px as fit into its middle; a smaller one, of whole cells, is one tile.
    """

    num_features = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.model256 = timm.create_model("vit_small_patch16_224", num_classes=0, dynamic_img_size=True)
        self.model4k = TileGrid()

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features of the patches."""
        return self.cells(x).mean(dim=(1, 2))

    def cells(self, x: Tensor) -> Tensor:
        """Float (b, edge, edge, 579): context (192), tokens of the tiles (384), both smoothed, and mean RGB in 0..1."""
        b, _, size, _ = x.shape
        tile = TILE if size >= TILE else size // CELL * CELL
        n, per = size // tile if size >= TILE else 1, tile // CELL
        start = (size - n * tile) // 2
        x = x[:, :, start : start + n * tile, start : start + n * tile]
        tiles = x.reshape(b, 3, n, tile, n, tile).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, tile, tile)
        tokens: Tensor = self.model256.forward_features(tiles)  # type: ignore[operator]
        context = self.model4k(tokens[:, 0].reshape(b, n, n, LOCAL)).permute(0, 3, 1, 2)
        context = context.repeat_interleave(per, dim=2).repeat_interleave(per, dim=3)
        local = tokens[:, 1:].reshape(b, n, n, per, per, LOCAL).permute(0, 5, 1, 3, 2, 4)
        local = local.reshape(b, LOCAL, n * per, n * per)
        colour = avg_pool2d(x, CELL) * 0.5 + 0.5
        parts = [_smooth(context, SMOOTH["context"]), _smooth(local, SMOOTH["local"]), colour]
        return torch.cat(parts, dim=1).permute(0, 2, 3, 1)


def _smooth(values: Tensor, box: int) -> Tensor:
    """The mean over a box of cells around each; the border's cells are repeated beyond it."""
    before = (box - 1) // 2
    return avg_pool2d(pad(values, (before, box - 1 - before) * 2, mode="replicate"), box, stride=1)


def to_hipt(state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The file's tensors, of which each belongs to one of the two networks.

    Raises:
        DataError: a file of one of the two alone, or of anything else.
    """
    if not all(any(name.startswith(part) for name in state) for part in ("model256.", "model4k.")):
        raise DataError(
            f"Expected HIPT's two networks in {origin}, named model256.* and model4k.*, found "
            f"{', '.join(sorted(state)[:3])}; join its two files as docs/contributing/encoder.md shows."
        )
    return dict(state)

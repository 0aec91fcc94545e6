"""What XFuse reads of a spot's patch as an image: its pixels, averaged to a grid, or its parts as the run's encoder sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ...datasets.cohort import Cohort, RowView, SealedSection
from ...datasets.views import Views
from ...errors import MethodError
from ..reduced import Reduced
from ..scaling import chunks
from .parameters import XFuseParameters

READ = 64  # patches that are read at once


@dataclass(frozen=True)
class Cells:
    """How patches become images of cells x cells.

    Attributes:
        cells: along an edge.
        reduced: of the features, or None where cells are pixels.
        mean: float32 (channels,), of the image that is explained over the training spots.
    """

    cells: int
    reduced: Reduced | None
    mean: NDArray[np.float32]

    @classmethod
    def of(cls, train: Cohort, p: XFuseParameters) -> Self:
        """As the training spots have it."""
        if p.features == "parts":
            reduced = Reduced.fit(train.features(), p.components)
            return cls(p.cells, reduced, np.zeros(reduced.width, dtype=np.float32))
        total = np.zeros(3)
        for _, part in chunks(train.patches(), READ):
            total += averaged(part, p.cells).mean(axis=(1, 2)).sum(axis=0, dtype=np.float64)
        return cls(p.cells, None, (total / len(train) / 127.5 - 1).astype(np.float32))

    @property
    def channels(self) -> int:
        """Channels that are read: those of the image and, of features, as many of the whole patch."""
        return len(self.mean) if self.reduced is None else 2 * len(self.mean)

    def read(self, side: Cohort | SealedSection) -> Tensor:
        """All spots, on the host: pixels uint8 (n, cells, cells, 3), or features float32 (n, cells + 1 rows) of their parts."""
        if self.reduced is None:
            return torch.from_numpy(_pixels(side.patches(), self.cells))
        parts = self.reduced.read(side.views(Views(self.cells, inside=True)))
        own = self.reduced.read(side.features())
        return torch.from_numpy(np.concatenate([parts, own[:, None]], axis=1))

    def images(self, rows: Tensor) -> Tensor:
        """Some of what was read, on the device, as images, float (n, channels, cells, cells)."""
        if self.reduced is None:
            return (rows.float() / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
        parts = rows[:, :-1].transpose(1, 2).reshape(len(rows), -1, self.cells, self.cells)
        return torch.cat([parts, rows[:, -1, :, None, None].expand_as(parts)], dim=1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Arrays for `Method.state`."""
        reduced = {} if self.reduced is None else self.reduced.state()
        return {"image.mean": self.mean, **reduced}

    @classmethod
    def restore(cls, state: dict[str, NDArray[Any]], p: XFuseParameters) -> Self:
        """The inverse of `state`; takes its arrays out of the dictionary."""
        return cls(p.cells, Reduced.restore(state) if p.features == "parts" else None, state.pop("image.mean"))


def averaged(patches: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
    """Patches uint8 (n, h, w, 3) as the means over cells x cells equal areas, rounded, uint8 (n, cells, cells, 3).

    Raises:
        MethodError: more cells than pixels.
    """
    edge = min(patches.shape[1:3])
    if cells > edge:
        raise MethodError(
            f"xfuse: expected at most as many cells as a patch has pixels along its edge, {edge}, found cells={cells}; "
            "set fewer."
        )
    if cells == edge:
        return patches
    x = torch.from_numpy(patches).permute(0, 3, 1, 2).float()
    small = interpolate(x, (cells, cells), mode="area").round_().to(torch.uint8)
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def _pixels(patches: RowView, cells: int) -> NDArray[np.uint8]:
    out = np.empty((len(patches), cells, cells, 3), dtype=np.uint8)
    for place, part in chunks(patches, READ):
        out[place] = averaged(part, cells)
    return out

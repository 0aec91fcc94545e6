"""Cells of 16 px as HIPT sees them on a section's grid: each with its own tile's surroundings, whatever spot it belongs to."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...datasets.tiles import SectionTiles
from ..encoders.hipt import CELL, CONTEXT, LOCAL, SMOOTH, TILE, WIDTH, Hipt
from ..images.sources import device_of

PER = TILE // CELL  # cells along a tile's edge, and along that of the box that contexts are averaged over
KNOWN = 65_536  # tiles whose class token is kept, 100 MB: windows of a slide share what is around them
TOGETHER = 8, 64  # tiles that pass a network at once, on a CPU and on a GPU
WINDOWS = 64  # that pass the ViT-4K at once
_CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])


class CellReader:
    """What HIPT says of cells: class tokens of the tiles, once each; of every tile the ViT-4K's token amid those around it.

    Attributes:
        hipt: both networks; on their device it is computed.
        grid: tiles along the edge of what the ViT-4K sees, odd; the middle one's token is read.
    """

    def __init__(self, hipt: Hipt, grid: int) -> None:
        self.hipt, self.grid = hipt.eval(), grid
        self._known: OrderedDict[bytes, Tensor] = OrderedDict()

    def read(self, tiles: SectionTiles, edge: int, index: NDArray[np.intp]) -> NDArray[np.float32]:
        """Some cells of each spot's patch: float32 (n, len(index), 579).

        A patch lies on the section's cells, its middle at most half a cell away from the spot's.

        Args:
            tiles: of 256 px, and the spots' places in their pixels.
            edge: cells along a patch's edge.
            index: which of its cells, numbered left to right, then down.
        """
        first = np.rint(tiles.places / CELL - edge / 2).astype(np.int64)
        cells, where = _unique(first[:, None] + np.column_stack([index % edge, index // edge]))
        with torch.inference_mode():
            return self._cells(tiles, cells)[where]

    def _cells(self, tiles: SectionTiles, cells: NDArray[np.int64]) -> NDArray[np.float32]:
        """Float32 (m, 579): context, tokens, both smoothed as `Hipt.cells` does, and mean RGB; cells int (m, 2)."""
        # A box of as many cells as a tile has reaches over four tiles at most.
        start = cells - (SMOOTH["context"] - 1) // 2
        share = (start % PER)[:, None] / PER
        weight = np.where(_CORNERS == 1, share, 1 - share).prod(axis=2).astype(np.float32)
        middles, corner = _unique(start[:, None] // PER + _CORNERS)
        windows, seen = _unique(middles[:, None] + _square(self.grid, self.grid // 2))
        box = SMOOTH["local"]
        fine, token = _unique(cells[:, None] + _square(box, (box - 1) // 2))

        classes, tokens, colour = self._encode(tiles, windows, fine)
        context = self._context(classes, seen)
        out = np.zeros((len(cells), WIDTH), dtype=np.float32)
        for i in range(len(_CORNERS)):
            out[:, :CONTEXT] += weight[:, i, None] * context[corner[:, i]]
        for i in range(box**2):
            out[:, CONTEXT : CONTEXT + LOCAL] += tokens[token[:, i]]
        out[:, CONTEXT : CONTEXT + LOCAL] /= box**2
        out[:, CONTEXT + LOCAL :] = colour[token[:, (box - 1) // 2 * (box + 1)]]
        return out

    def _encode(
        self, tiles: SectionTiles, at: NDArray[np.int64], fine: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Class tokens of tiles, int (t, 2), and the tokens and mean RGB in 0..1 of cells, int (u, 2), that lie in them."""
        device = device_of(self.hipt)
        classes = np.empty((len(at), LOCAL), dtype=np.float32)
        tokens, colour = np.empty((len(fine), LOCAL), dtype=np.float32), np.empty((len(fine), 3), dtype=np.float32)
        home = _find(fine // PER, at)
        order = np.argsort(home, kind="stable")
        inside = fine % PER
        place = inside[:, 1] * PER + inside[:, 0]
        starts = np.searchsorted(home[order], np.arange(len(at) + 1))
        together = TOGETHER[device.type == "cuda"]
        for begin in range(0, len(at), together):
            numbers = range(begin, min(begin + together, len(at)))
            pixels = tiles.read(at[begin : begin + together])
            names = [hashlib.blake2b(tile.data).digest() for tile in np.ascontiguousarray(pixels)]
            new = [i for i in numbers if starts[i] < starts[i + 1] or names[i - begin] not in self._known]
            if new:
                x = torch.from_numpy(pixels[[i - begin for i in new]]).to(device).permute(0, 3, 1, 2).float() / 255
                found: Tensor = self.hipt.model256.forward_features((x - 0.5) / 0.5)  # type: ignore[operator]
                found = found.float().cpu()
                shown = torch.nn.functional.avg_pool2d(x, CELL).flatten(2).transpose(1, 2).cpu()
                for i, own, mean in zip(new, found, shown, strict=True):
                    self._known[names[i - begin]] = own[0].clone()
                    rows = order[starts[i] : starts[i + 1]]
                    tokens[rows], colour[rows] = own[1:][place[rows]], mean[place[rows]]
            for i in numbers:
                self._known.move_to_end(names[i - begin])
                classes[i] = self._known[names[i - begin]]
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)
        return classes, tokens, colour

    def _context(self, classes: NDArray[np.float32], seen: NDArray[np.intp]) -> NDArray[np.float32]:
        """The ViT-4K's token of the middle tile of each window, float32 (c, 192); `seen` int (c, grid x grid) of the classes."""
        device, middle = device_of(self.hipt), self.grid // 2
        out = np.empty((len(seen), CONTEXT), dtype=np.float32)
        for begin in range(0, len(seen), WINDOWS):
            some = classes[seen[begin : begin + WINDOWS]].reshape(-1, self.grid, self.grid, LOCAL)
            out[begin : begin + WINDOWS] = (
                self.hipt.model4k(torch.from_numpy(some).to(device))[:, middle, middle].float().cpu()
            )
        return out


def _square(edge: int, before: int) -> NDArray[np.int64]:
    """Steps (column, row) of an edge x edge square whose place `before` from its corner is (0, 0), in reading order."""
    steps = np.arange(edge) - before
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def _unique(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The places (column, row) of an array (..., 2), each once, in reading order, and where each of the array's is: (...)."""
    low = places.min(axis=tuple(range(places.ndim - 1)))
    width = int(places[..., 0].max() - low[0]) + 1
    numbers = (places[..., 1] - low[1]) * width + places[..., 0] - low[0]
    found, where = np.unique(numbers, return_inverse=True)
    return np.column_stack([found % width, found // width]) + low, where.reshape(numbers.shape)


def _find(places: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each of some places stands among others, of which it is one and which are in reading order."""
    low, width = among.min(axis=0), int(np.ptp(among[:, 0])) + 1

    def number(some: NDArray[np.int64]) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = (some[:, 1] - low[1]) * width + some[:, 0] - low[0]
        return numbers

    found: NDArray[np.intp] = np.searchsorted(number(among), number(places))
    return found

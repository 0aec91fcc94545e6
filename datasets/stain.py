"""Draw H&E: nuclei and tissue textures as stain concentrations, and their colour by the optical density model.

Colour: I = background * exp(-(h * H + e * E)) per channel (Beer and Lambert), with the optical density vectors of
haematoxylin (H) and eosin (E) of Ruifrok and Johnston, Anal Quant Cytol Histol 2001.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
_EOSIN = np.array([0.072, 0.990, 0.105])
_TILE = 512  # a power of two


@dataclass(frozen=True)
class Laboratory:
    """Around what a laboratory's stains vary: optical density vectors (2, 3) of H and E, strengths (2,), tint of the light (3,)."""

    vectors: NDArray[np.float64]
    strength: tuple[float, float]
    tint: tuple[float, float, float]


FIRST = Laboratory(np.stack([_HAEMATOXYLIN, _EOSIN]), (1.0, 1.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Stain:
    """How one laboratory stains: optical density vectors (2, 3) of H and E, their strengths (2,), light (3,) 0..255."""

    vectors: NDArray[np.float64]
    strength: NDArray[np.float64]
    light: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, laboratory: Laboratory = FIRST) -> Stain:
        """A laboratory's variation: hue a few degrees, strength by a fifth, light by some grey levels."""
        vectors = laboratory.vectors + rng.normal(0, 0.04, (2, 3))
        vectors = np.clip(vectors, 0.02, None)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        strength = np.exp(rng.normal(0, 0.18, 2)) * laboratory.strength
        return cls(vectors, strength, (rng.uniform(232, 248) + rng.normal(0, 2, 3)) * laboratory.tint)

    def colour(self, haematoxylin: Floats, eosin: Floats) -> NDArray[np.uint8]:
        """RGB uint8 (h, w, 3) of two maps of concentration (h, w)."""
        out = np.empty((*haematoxylin.shape, 3), np.uint8)
        density = (self.vectors * self.strength[:, None]).astype(np.float32)
        for channel in range(3):
            depth = haematoxylin * density[0, channel]
            depth += eosin * density[1, channel]
            out[..., channel] = np.rint(np.float32(self.light[channel]) * np.exp(-depth))
        return out


@dataclass(frozen=True)
class Textures:
    """Periodic square tiles, float32 (512, 512) each.

    Attributes:
        fibres: long-grained noise of mean 0 and sd 1.
        grain: fine noise of mean 0 and sd 1.
        cell: distance to the nearest wall of a foam of round cells, in pixels.
    """

    fibres: Floats
    grain: Floats
    cell: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, cell_size: float) -> Textures:
        """Tiles with foam cells of about `cell_size` pixels across."""
        from scipy.ndimage import gaussian_filter
        from scipy.spatial import cKDTree

        def noise(sigma: tuple[float, float]) -> Floats:
            values: NDArray[np.float64] = gaussian_filter(rng.standard_normal((_TILE, _TILE)), sigma, mode="wrap")
            values /= values.std()
            return values.astype(np.float32)

        edge = round(_TILE / cell_size)
        lattice = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), axis=-1).reshape(-1, 2)
        centres = (lattice + rng.uniform(0.1, 0.9, lattice.shape)) * (_TILE / edge)  # jittered, so that none is tiny
        grid = np.stack(np.meshgrid(np.arange(_TILE), np.arange(_TILE), indexing="ij"), axis=-1).reshape(-1, 2)
        near = cKDTree(centres, boxsize=_TILE).query(grid, k=2)[0]
        wall = ((near[:, 1] - near[:, 0]) / 2).reshape(_TILE, _TILE)
        return cls(noise((1.5, 14.0)), noise((1.2, 1.2)), wall.astype(np.float32))

    def spread(self, tile: Floats, warp: tuple[Floats, Floats], shift: tuple[int, int]) -> Floats:
        """A tile laid over a whole image, its rows and columns displaced by `warp` (two maps in pixels) and `shift`."""
        height, width = warp[0].shape
        rows = (np.arange(height, dtype=np.int32)[:, None] + warp[0].astype(np.int32) + shift[0]) & (_TILE - 1)
        columns = (np.arange(width, dtype=np.int32)[None, :] + warp[1].astype(np.int32) + shift[1]) & (_TILE - 1)
        return tile.ravel().take(rows * _TILE + columns)

    def repeated(self, tile: Floats, side: int) -> Floats:
        """A tile repeated over a square image."""
        times = -(-side // _TILE)
        return np.tile(tile, (times, times))[:side, :side]


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of an image: centres (n, 2) as x, y in pixels, half axes (n, 2), angle (n,), darkness (n,), tissue domain (n,)."""

    xy: NDArray[np.float64]
    axes: NDArray[np.float64]
    angle: NDArray[np.float64]
    darkness: NDArray[np.float64]
    domain: NDArray[np.intp]

    def draw(self, into: Floats) -> None:
        """Add the nuclei to a map of haematoxylin (h, w); where two overlap the darker stays."""
        height, width = into.shape
        corner = np.floor(self.xy).astype(np.int64)
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        reach = np.ceil(self.axes.max(axis=1)).astype(np.int64)
        furthest = int(reach.max(initial=0))
        for dy in range(-furthest, furthest + 1):
            for dx in range(-furthest, furthest + 1):
                n = np.flatnonzero(reach >= max(abs(dy), abs(dx)))
                column, row = corner[n, 0] + dx, corner[n, 1] + dy
                x, y = column - self.xy[n, 0], row - self.xy[n, 1]
                long, short = x * cosine[n] + y * sine[n], y * cosine[n] - x * sine[n]
                distance = (long / self.axes[n, 0]) ** 2 + (short / self.axes[n, 1]) ** 2
                here = (distance < 1) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
                depth = (self.darkness[n[here]] * np.minimum(1.0, 2.5 * (1 - distance[here]))).astype(np.float32)
                np.maximum.at(into, (row[here], column[here]), depth)

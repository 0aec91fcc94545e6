"""Images of tissue on glass, and tiled slides of them, for the tests of prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from .datasets_sections import counts, grid, write_card, write_h5ad

SCALE = 0.5


def stained(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Pink tissue of varying density in the middle half, glass around it."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0.25, 0.9, (height // 40 + 1, width // 40 + 1))
    density = np.asarray(Image.fromarray(small.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    inside = np.zeros((height, width), bool)
    inside[height // 4 : -height // 4, width // 4 : -width // 4] = True
    glass = np.array([240.0, 238.0, 242.0])
    stain = np.array([0.25, 0.9, 0.35])  # eosin and haematoxylin absorb green most
    pixels = glass * np.exp(-np.where(inside, density, 0)[..., None] * stain)
    return np.clip(pixels + rng.normal(0, 1.5, pixels.shape), 0, 255).astype(np.uint8)


def tiled(path: Path, pixels: np.ndarray, scale: float | None) -> Path:
    resolution = {} if scale is None else {"resolution": (1e4 / scale, 1e4 / scale), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, tile=(128, 128), photometric="rgb", subifds=1, compression="deflate", **resolution)
        file.write(pixels[::2, ::2], tile=(128, 128), photometric="rgb", subfiletype=1, compression="deflate")
    return path


def stained_dataset(folder: Path, patients: int) -> Path:
    """The card of a dataset of patients with one section each, twelve spots on a stained image of `SCALE` microns per pixel."""
    entries = []
    for i in range(patients):
        Image.fromarray(stained(700, 600, i)).save(folder / f"S{i}.png")
        write_h5ad(folder / f"S{i}.h5ad", counts(seed=i), spatial=grid(pitch=120, start=140))
        entries.append(
            {"id": f"S{i}", "patient": f"P{i}", "file": f"S{i}.h5ad", "image": f"S{i}.png", "microns_per_pixel": SCALE}
        )
    return write_card(folder / "mine.yaml", "h5ad", entries, markers={"tumour": ["ERBB2"]})

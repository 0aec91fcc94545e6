"""A small dataset in the public HER2ST layout, made from a seed: tables, spot files, images and labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

PITCH = 230  # pixels between spots


def make(
    folder: Path, sections: tuple[str, ...] = ("A1", "A2", "B1", "B2", "C1", "D1"), side: int = 5, genes: int = 60
) -> Path:
    """Write the sections; counts follow the darkness of the tissue and a gradient, so that something can be learned."""
    rng = np.random.default_rng(7)
    for name in ("ST-cnts", "ST-spotfiles", "ST-pat/lbl"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    loading = rng.gamma(1.0, 1.0, size=(2, genes))
    symbols = ["ERBB2", "GNAS", "FASN", "VWF", *(f"GENE{i:03d}" for i in range(genes - 4))]
    for section in sections:
        x, y = (axis.ravel() for axis in np.meshgrid(np.arange(1, side + 1), np.arange(1, side + 1), indexing="ij"))
        dark = rng.uniform(0.1, 0.9, size=len(x))
        rate = np.exp(0.5 + 1.2 * np.outer(dark, loading[0]) / 2 + 0.3 * np.outer(x / side, loading[1]) / 2)
        counts = rng.poisson(rate * rng.uniform(0.7, 1.3))
        edge = (side + 2) * PITCH
        image = np.full((edge, edge, 3), 230, dtype=np.uint8)
        for i in range(len(x)):
            cx, cy = int(x[i] * PITCH), int(y[i] * PITCH)
            half = PITCH // 2
            noise = rng.integers(-12, 12, size=(PITCH, PITCH, 1))
            tone = np.array([225, 170, 210]) - 120 * dark[i]
            image[cy - half : cy + half, cx - half : cx + half] = np.clip(tone + noise, 0, 255)
        spots = [f"{a}x{b}" for a, b in zip(x, y, strict=True)]
        with gzip.open(folder / "ST-cnts" / f"{section}.tsv.gz", "wt") as file:
            file.write("\t" + "\t".join(symbols) + "\n")
            for spot, row in zip(spots, counts, strict=True):
                file.write(spot + "\t" + "\t".join(map(str, row)) + "\n")
        lines = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
        lines += [f"{a}\t{b}\t{a + 0.01}\t{b - 0.01}\t{a * PITCH}\t{b * PITCH}\t1" for a, b in zip(x, y, strict=True)]
        (folder / "ST-spotfiles" / f"{section}_selection.tsv").write_text("\n".join(lines) + "\n")
        place = folder / "ST-imgs" / section[0] / section
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{section}_HE.jpg", quality=92)
    return folder

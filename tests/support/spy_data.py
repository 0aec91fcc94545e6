"""A dataset in which every spot of every section can be told by its counts, its total and its pixels.

Gene CODE counts 5000 + 100 * section + spot. ONLY_<section> varies in that section alone, so its rank in a panel tells
whose spots chose the panel; NOT_<section> is missing from that section's file, so a panel has it just where that section
had no say. FILL brings the total of a spot to its code + 20,000. Images: red is the section, green the spot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .datasets_sections import write_card

PATIENTS = {"A1": "A", "A2": "A", "B1": "B", "C1": "C", "D1": "D"}
SECTIONS = tuple(PATIENTS)
N = 10  # spots of a section, five by two
XY = np.array([[i % 5, i // 5] for i in range(N)])
PITCH, START = 92, 120  # pixels; patches of 224 lie within the image
Rows = Sequence[int]


def code(section: str, spot: int) -> int:
    return 5000 + 100 * SECTIONS.index(section) + spot


def red(section: str) -> int:
    return 40 + 30 * SECTIONS.index(section)


def spots(section: str) -> list[str]:
    return [f"{section}-{i}" for i in range(N)]


def table(section: str) -> dict[str, np.ndarray]:
    """Gene -> counts of the section's file, int (N,)."""
    own = SECTIONS.index(section)
    rng = np.random.default_rng(own)
    genes = {f"BASE{j}": rng.poisson(3 + 2 * j, N) for j in range(4)}
    for k, other in enumerate(SECTIONS):
        # An offset apart in each section: what pools two of them ranks it higher than either alone.
        genes[f"ONLY_{other}"] = (40 + 10 * k) * (np.arange(N) % 3) if other == section else np.zeros(N, int)
        if other != section:
            genes[f"NOT_{other}"] = rng.poisson(4 + own, N)
    genes["CODE"] = np.array([code(section, i) for i in range(N)])
    genes["FILL"] = 20_000 - sum(values for gene, values in genes.items() if gene != "CODE")
    return genes


def write(folder: Path, sections: Iterable[str] = SECTIONS) -> Path:
    """Tables, images and the card, whose path is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = XY * PITCH + START
    entries = []
    for section in sections:
        genes = table(section)
        lines = [",".join(["", *genes])]
        lines += [",".join([name, *(str(v[i]) for v in genes.values())]) for i, name in enumerate(spots(section))]
        (folder / f"{section}.csv").write_text("\n".join(lines) + "\n")
        lines = ["spot,x,y,array_x,array_y"]
        for name, (x, y), (column, row) in zip(spots(section), pixels, XY, strict=True):
            lines.append(f"{name},{x},{y},{column},{row}")
        (folder / f"{section}_spots.csv").write_text("\n".join(lines) + "\n")
        width, height = pixels.max(axis=0) + START
        image = np.full((height, width, 3), (red(section), 60, 200), np.uint8)
        for i, (x, y) in enumerate(pixels):
            image[y - 5 : y + 5, x - 5 : x + 5, 1] = 60 + 10 * i
        Image.fromarray(image).save(folder / f"{section}.png")
        entries.append(
            {"id": section, "patient": PATIENTS[section], "file": f"{section}.csv", "spots": f"{section}_spots.csv",
             "image": f"{section}.png"}
        )  # fmt: skip
    return write_card(folder / "spied.yaml", "tables", entries, markers={"marked": ["BASE0", "NOT_D1"]})


def target(section: str, genes: Sequence[str], rows: Rows = range(N), how: str = "counts") -> np.ndarray:
    """What the target of some spots must be, float64 (spots, genes); a gene that the file lacks reads 0."""
    known = table(section)
    counts = np.stack([known.get(gene, np.zeros(N)) for gene in genes], axis=1).astype(float)[list(rows)]
    if how == "proportion":
        counts *= 1e4 / sum(known.values())[list(rows), None]
    return np.log1p(counts)


def panel(training: Sequence[tuple[str, Rows]]) -> list[str]:
    """The genes of the panel that these spots choose: by falling variance of log1p counts, ties by name, markers last."""
    tables = [table(section) for section, _ in training]
    shared = sorted(set.intersection(*(set(genes) for genes in tables)))
    pooled = {
        g: np.concatenate([np.log1p(t[g][list(r)]) for t, (_, r) in zip(tables, training, strict=True)]) for g in shared
    }
    return sorted(shared, key=lambda gene: (-round(float(pooled[gene].var()), 9), gene))

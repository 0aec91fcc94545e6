"""The embedded dataset: simulated sections written once in the HER2ST layout, then read by the reader of the real ones.

Four patients with two sections each. Tissue domains come from smooth random fields, nuclei and textures from the domains,
counts from the nuclei under each spot, from the patient, and from spatial programmes and a depth that no image shows.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .cache import ArrayCache
from .demo_expression import HIDDEN, draw_counts, draw_genes, draw_patient_expression
from .demo_tissue import DOMAINS, GRID, PITCH, Patient, at_spots, draw_image, draw_patient, draw_tissue, on_tissue
from .entry import EntryWriter
from .hashing import canonical_hash
from .her2st import open_her2st
from .registry import Dataset, DatasetCard
from .stain import Textures

VERSION = 2  # raised when the simulator would write other data
SECTIONS = 2  # per patient; neighbours
PATIENTS = {"A": 1500.0, "B": 3500.0, "C": 900.0, "D": 2200.0}  # UMI of a usual spot
_RADII = {"A": (5.9, 5.6), "B": (5.5, 6.2), "C": (6.1, 5.5), "D": (5.6, 5.8)}  # of the tissue, in pitches
_SEED = 20250
_JPEG_QUALITY = 90


def open_demo(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """The simulated sections; made at the first call, in seconds, and kept in the cache. `data_dir` is not used."""
    key = canonical_hash({"demo": VERSION, "markers": card.markers})
    entry = cache.get("demo", key, partial(_simulate, markers=card.markers))
    dataset = open_her2st(card, entry.folder, cache)
    return replace(dataset, versions={**dataset.versions, "demo": VERSION})


def _simulate(writer: EntryWriter, markers: dict[str, tuple[str, ...]]) -> None:
    for folder in ("ST-cnts", "ST-spotfiles", "ST-pat/lbl"):
        (writer.folder / folder).mkdir(parents=True)
    genes = draw_genes(_random(0), markers)
    textures = Textures.draw(_random(1), cell_size=52)
    for number, (letter, depth) in enumerate(PATIENTS.items()):
        patient = draw_patient(_random(2, number), HIDDEN, _RADII[letter])
        expression = draw_patient_expression(_random(3, number), depth)
        for section in range(1, SECTIONS + 1):
            drawing, counting = _random(4, number, section), _random(5, number, section)
            tissue = draw_tissue(drawing, patient, textures)
            image = draw_image(drawing, tissue, patient.stain, textures)
            name = f"{letter}{section}"
            _write_image(writer.folder / "ST-imgs" / letter / name / f"{name}_HE.jpg", image)
            array_xy, pixel_xy = _place_spots(counting, patient)
            spots = [f"{x:.0f}x{y:.0f}" for x, y in array_xy]
            cells, share, hidden = at_spots(tissue, pixel_xy)
            counts = draw_counts(counting, genes, expression, cells, share, hidden)
            _write_counts(writer.folder / "ST-cnts" / f"{name}.tsv.gz", spots, genes.symbols, counts)
            _write_places(writer.folder / "ST-spotfiles" / f"{name}_selection.tsv", array_xy, pixel_xy)
            if section == 1:  # as in HER2ST, one section of each patient is labelled
                labels = [DOMAINS[d] for d in share.argmax(axis=1)]
                _write_labels(writer.folder / "ST-pat" / "lbl" / f"{name}_labeled_coordinates.tsv", pixel_xy, labels)
    writer.metadata = {"simulator": VERSION}


def _random(*stream: int) -> np.random.Generator:
    """A stream of its own for each part, so that a change to one leaves the others as they were."""
    return np.random.default_rng([_SEED, *stream])


def _place_spots(rng: np.random.Generator, patient: Patient) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Array positions (n, 2) on the tissue and their pixels (n, 2); spots are printed a little off the grid."""
    line = np.arange(2.0, GRID + 2)
    array_xy = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    array_xy = array_xy[on_tissue(array_xy[:, 0], array_xy[:, 1], patient)]
    printed = array_xy + rng.normal(0, 0.05, array_xy.shape).clip(-0.3, 0.3)
    return array_xy, np.round((printed - 1) * PITCH, 2)


def _write_counts(path: Path, spots: list[str], genes: tuple[str, ...], counts: NDArray[np.int64]) -> None:
    rows = ("\t".join([spot, *map(str, row)]) for spot, row in zip(spots, counts.tolist(), strict=True))
    table = "\n".join(["\t" + "\t".join(genes), *rows]) + "\n"
    path.write_bytes(gzip.compress(table.encode(), 6, mtime=0))


def _write_places(path: Path, array_xy: NDArray[np.float64], pixel_xy: NDArray[np.float64]) -> None:
    fitted = pixel_xy / PITCH + 1
    rows = [
        f"{x:.0f}\t{y:.0f}\t{new_x:.3f}\t{new_y:.3f}\t{pixel_x:.2f}\t{pixel_y:.2f}\t1"
        for (x, y), (new_x, new_y), (pixel_x, pixel_y) in zip(array_xy, fitted, pixel_xy, strict=True)
    ]
    _write_lines(path, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected", rows)


def _write_labels(path: Path, pixel_xy: NDArray[np.float64], labels: list[str]) -> None:
    rows = [
        f"{x:.0f}x{y:.0f}\t{x / PITCH + 1:.3f}\t{y / PITCH + 1:.3f}\t{x:.2f}\t{y:.2f}\t{label}"
        for (x, y), label in zip(pixel_xy, labels, strict=True)
    ]
    _write_lines(path, "Row.names\tx\ty\tpixel_x\tpixel_y\tlabel", rows)


def _write_lines(path: Path, header: str, rows: list[str]) -> None:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    import simplejpeg

    path.parent.mkdir(parents=True)
    path.write_bytes(simplejpeg.encode_jpeg(image, quality=_JPEG_QUALITY, colorspace="RGB", colorsubsampling="444"))

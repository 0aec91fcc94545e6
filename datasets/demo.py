"""The embedded datasets: simulated sections written once in the HER2ST layout, then read by the reader of the real ones.

Four patients with two sections each, and for `demo-shifted` four others of the same kind of tissue and the same genes, stained
by a second laboratory and scanned by a second scanner. Tissue domains come from smooth random fields, nuclei and textures from the domains,
counts from the nuclei under each spot, from the patient, and from spatial programmes and a depth that no image shows.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from .registry import Dataset, DatasetCard, SectionInfo
from .section import Section
from .stain import FIRST, Laboratory, Textures

VERSION = 2  # raised when the simulator would write other data
SECTIONS = 2  # per patient; neighbours
_SEED = 20250
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Scanner:
    """How a scanner renders: blur (sd in pixels), exponent of its tone curve, and quality of its JPEGs."""

    blur: float = 0.0
    exponent: float = 1.0
    quality: int = _JPEG_QUALITY

    def render(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB uint8 (h, w, 3) as this scanner shows it."""
        from scipy.ndimage import gaussian_filter

        if self == Scanner():
            return image
        light: NDArray[np.float32] = gaussian_filter(image.astype(np.float32) / 255, (self.blur, self.blur, 0))
        rendered: NDArray[np.uint8] = np.rint(255 * light**self.exponent).astype(np.uint8)
        return rendered


@dataclass(frozen=True)
class Site:
    """Where the patients of a dataset come from, and who stains and scans their sections.

    Attributes:
        patients: UMI of a usual spot, and the radii of the tissue in pitches, by patient.
        first: number of its first patient among those of all sites, so that no two patients share a random stream.
    """

    patients: dict[str, tuple[float, tuple[float, float]]]
    first: int
    laboratory: Laboratory
    scanner: Scanner


DEMO = Site(
    {"A": (1500.0, (5.9, 5.6)), "B": (3500.0, (5.5, 6.2)), "C": (900.0, (6.1, 5.5)), "D": (2200.0, (5.6, 5.8))},
    0,
    FIRST,
    Scanner(),
)
# Vectors: the second H&E of ImageJ's Colour Deconvolution (Landini et al. 2020). A dark haematoxylin, a pale eosin, a warm lamp.
SHIFTED = Site(
    {"P": (1200.0, (5.8, 5.7)), "Q": (2800.0, (5.6, 6.1)), "R": (1900.0, (6.0, 5.5)), "S": (1600.0, (5.7, 5.9))},
    len(DEMO.patients),
    Laboratory(
        np.array([[0.49015734, 0.76897085, 0.41040173], [0.04615336, 0.8420684, 0.5373925]]),
        (1.3, 0.75),
        (1.0, 0.97, 0.9),
    ),
    Scanner(blur=0.8, exponent=1.2, quality=75),
)
SHIFTED_VERSION = 1  # raised when `demo-shifted` alone would be other data


def open_demo(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """The simulated sections; made at the first call, in seconds, and kept in the cache. `data_dir` is not used."""
    return _open(card, DEMO, {"demo": VERSION}, cache)


def open_shifted(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """The same of other patients, a second laboratory and a second scanner."""
    return _open(card, SHIFTED, {"demo": VERSION, "demo-shifted": SHIFTED_VERSION}, cache)


def _open(card: DatasetCard, site: Site, versions: dict[str, int], cache: ArrayCache) -> Dataset:
    key = canonical_hash({**versions, "markers": card.markers})
    folder = partial(_folder, key, site, card, cache)
    dataset = open_her2st(card, folder(), cache)
    read = partial(_read, folder=folder, reader=dataset.reader)
    return replace(dataset, reader=read, versions={**dataset.versions, **versions})


def _folder(key: str, site: Site, card: DatasetCard, cache: ArrayCache) -> Path:
    return cache.get("demo", key, partial(_simulate, site=site, markers=card.markers)).folder


def _read(info: SectionInfo, folder: Callable[[], Path], reader: Callable[[SectionInfo], Section]) -> Section:
    folder()  # simulated again where the cache has been emptied since
    return reader(info)


def _simulate(writer: EntryWriter, site: Site, markers: dict[str, tuple[str, ...]]) -> None:
    for folder in ("ST-cnts", "ST-spotfiles", "ST-pat/lbl"):
        (writer.folder / folder).mkdir(parents=True)
    genes = draw_genes(_random(0), markers)
    textures = Textures.draw(_random(1), cell_size=52)
    for number, (letter, (depth, radii)) in enumerate(site.patients.items(), start=site.first):
        patient = draw_patient(_random(2, number), HIDDEN, radii, site.laboratory)
        expression = draw_patient_expression(_random(3, number), depth)
        for section in range(1, SECTIONS + 1):
            drawing, counting = _random(4, number, section), _random(5, number, section)
            tissue = draw_tissue(drawing, patient, textures)
            image = draw_image(drawing, tissue, patient.stain, textures)
            name = f"{letter}{section}"
            path = writer.folder / "ST-imgs" / letter / name / f"{name}_HE.jpg"
            _write_image(path, site.scanner.render(image), site.scanner.quality)
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


def _write_image(path: Path, image: NDArray[np.uint8], quality: int) -> None:
    import simplejpeg

    path.parent.mkdir(parents=True)
    path.write_bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="444"))

"""HEST-1k samples (mahmoodlab/HEST): the card names the sample's id as `file`.

st/ID.h5ad (adata/ID.h5ad in the HEST benchmark)   counts, obsm["spatial"] in pixels of the slide
metadata/ID.json                                    pixel_size_um_estimated
wsis/ID.tif                                         the slide; read where it is present, or
patches/ID.h5                                       patches of 224 pixels at 0.5 microns each, by barcode
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import DataError, reading
from ...text_files import read_json
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..find import find_sections
from ..patch_file import PATCH_MICRONS, patch_barcodes
from ..registry import Dataset, DatasetCard
from ..scale import Stated
from ..section import Section
from .h5ad import VERSION as H5AD_VERSION
from .h5ad import read_h5ad
from .listed import Reader, open_listed

VERSION = 2


def open_hest(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """Open the HEST-1k samples that a card lists, else those that lie in the folder; errors as in `open_listed`."""
    if not card.sections:
        card = card.model_copy(update={"sections": _samples(card.name, data_dir)})
    return open_listed(
        card, data_dir, cache, Reader({"hest": VERSION, "h5ad": H5AD_VERSION}, _tables, read_hest, _image)
    )


def _samples(name: str, data_dir: Path | None) -> tuple[SectionEntry, ...]:
    found = () if data_dir is None else find_sections("hest", data_dir, None)
    if not found:
        raise DataError(
            f"Dataset {name} needs samples such as st/TENX95.h5ad{'' if data_dir is None else f' in {data_dir}'}; fetch them with "
            f"'qbench data fetch {name} --sections TENX95', then name their folder with --data-dir DIR or set QBENCH_DATA."
        )
    return tuple(map(SectionEntry.model_validate, found))


def read_hest(entry: SectionEntry, base: Path) -> Section:
    """A sample; without its slide, the spots that have a patch.

    Raises:
        DataError: see `read_h5ad`; or a patch file of other spots.
    """
    section = read_h5ad(entry, _counts(entry, base))
    metadata = base / "metadata" / f"{entry.file}.json"
    if metadata.is_file():
        section = replace(section, scales=(*_pixel_sizes(metadata), *section.scales))
    image = _image(entry, base)
    if image is None or image.suffix != ".h5":
        return section
    having = set(patch_barcodes(image))
    rows = [i for i, spot in enumerate(section.spots) if spot in having]
    if not rows:
        raise DataError(
            f"Section {entry.id}: expected patches of its spots in {image}, found none of their barcodes; give the "
            "patches of this sample."
        )
    left = section.n_spots - len(rows)
    notes = (f"{left} spots have no patch and are left out",) if left else ()
    # The scale is that of what is read, which is the patches.
    return replace(section.rows(np.array(rows), notes), scales=(Stated(PATCH_MICRONS, "HEST's patches"),))


def _pixel_sizes(path: Path) -> list[Stated]:
    """What the authors estimated from the spots, and what the slide's file said; either may be null or NaN."""
    why = {"pixel_size_um_estimated": "HEST's authors estimated it from the spots", "pixel_size_um_embedded": ""}
    what, remedy = "pixel_size_um_estimated", "fetch the file again"
    with reading(what, path, remedy):
        stated = {"pixel_size_um_embedded": None, **read_json(path, what, remedy)}
        sizes = {name: float("nan" if stated[name] is None else stated[name]) for name in why}
    return [Stated(size, name, why[name]) for name, size in sizes.items() if np.isfinite(size)]


def _counts(entry: SectionEntry, base: Path) -> Path:
    paths = [base / folder / f"{entry.file}.h5ad" for folder in ("st", "adata")]
    return next((path for path in paths if path.is_file()), paths[0])


def _tables(entry: SectionEntry, base: Path) -> tuple[Path, ...]:
    metadata = base / "metadata" / f"{entry.file}.json"
    return (_counts(entry, base), *((metadata,) if metadata.is_file() else ()))


def _image(entry: SectionEntry, base: Path) -> Path | None:
    if entry.image is not None:
        return base / entry.image
    paths = (base / "wsis" / f"{entry.file}.tif", base / "patches" / f"{entry.file}.h5")
    return next((path for path in paths if path.is_file()), None)

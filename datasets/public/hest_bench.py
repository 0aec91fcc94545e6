"""A task of HEST-bench (Jaume et al. 2024, data set MahmoodLab/hest-bench) in its authors' layout, a folder a task.

splits/train_K.csv, splits/test_K.csv   sample_id, and where in the folder its files lie: patches_path, expr_path
patches/ID.h5                            patches of 224 pixels at 0.5 microns each, by barcode
adata/ID.h5ad                            counts of the same spots, obsm["spatial"] in pixels of the slide
var_50genes.json                         {"genes": [...]}: at most 50, chosen on all samples of the task
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import DataError, reading
from ...names import check_name
from ...text_files import read_json, read_rows
from ..cache import ArrayCache
from ..card_parts import SectionEntry
from ..panel import HEADLINE
from ..patch_file import PATCH_MICRONS, patch_barcodes
from ..protocol import Given, HeldOut
from ..readers.h5ad import VERSION as H5AD_VERSION
from ..readers.h5ad import read_h5ad
from ..readers.listed import Reader, open_listed, stated_image
from ..registry import Dataset, DatasetCard
from ..scale import Stated
from ..section import Section

VERSION = 1
GENES = "var_50genes.json"
COLUMNS = ("sample_id", "patches_path", "expr_path")
_AGAIN = "fetch the task again"
_SIDE = re.compile(r"(train|test)_(\d+)\.csv")
Side = Mapping[str, tuple[str, str]]  # sample -> its patches and its counts


def open_task(card: DatasetCard, data_dir: Path | None, cache: ArrayCache) -> Dataset:
    """A task of HEST-bench, or a folder laid out as one: `splits/`, `patches/`, `adata/` and `var_50genes.json`.

    Its samples name no patient. The splits part patients, so that samples which no split parts stand for one.

    Raises:
        DataError: no folder, splits that lack a side or a sample, genes or paths that are none.
    """
    if data_dir is None or not (data_dir / "splits").is_dir():
        raise DataError(
            f"Expected the task's splits in {'a folder' if data_dir is None else data_dir / 'splits'}, found none; name the folder "
            f"of {card.name} with --data-dir, or fetch it with 'qbench data fetch hest-bench --tasks TASK'."
        )
    splits = _splits(data_dir / "splits")
    paths = {sample: found for train, test in splits.values() for sample, found in {**train, **test}.items()}
    patients = _patients(sorted(paths), [set(test) for _, test in splits.values()])
    entries = tuple(
        SectionEntry.model_validate({"id": sample, "patient": patients[sample], "file": counts, "image": patches})
        for sample, (patches, counts) in sorted(paths.items())
    )
    folds = tuple(
        HeldOut(name=f"split{number}", test=tuple(sorted({patients[sample] for sample in test})))
        for number, (_, test) in splits.items()
    )
    versions = {"hest-bench": VERSION, "h5ad": H5AD_VERSION}
    reader = Reader(versions, lambda entry, base: (base / entry.file,), _read, stated_image)
    opened = open_listed(card.model_copy(update={"sections": entries}), data_dir, cache, reader)
    given = Given(folds=folds, genes=_genes(data_dir / GENES), genes_from=GENES)
    return replace(opened, notes=(*opened.notes, *card.notes), given=given)


def _splits(folder: Path) -> dict[int, tuple[Side, Side]]:
    """Both sides of each split by its number; every sample stands on one side of each."""
    found: dict[int, dict[str, Side]] = {}
    for path in folder.iterdir():
        if match := _SIDE.fullmatch(path.name):
            found.setdefault(int(match[2]), {})[match[1]] = _side(path)
    if not found:
        raise DataError(f"Expected train_0.csv and test_0.csv in {folder}, found no split; {_AGAIN}.")
    everyone = {sample for sides in found.values() for side in sides.values() for sample in side}
    for number, sides in sorted(found.items()):
        for name in ("train", "test"):
            if not sides.get(name):
                state = "is missing" if name not in sides else "names no sample"
                raise DataError(
                    f"Expected both sides of split {number}, but {folder / f'{name}_{number}.csv'} {state}; {_AGAIN}."
                )
        both = sorted(set(sides["train"]) & set(sides["test"]))
        if both:
            raise DataError(f"Split {number} in {folder} has {both[0]} on both sides; {_AGAIN}.")
        absent = sorted(everyone - set(sides["train"]) - set(sides["test"]))
        if absent:
            raise DataError(
                f"Expected every sample of the task on a side of split {number} in {folder}, but {absent[0]} stands on neither; "
                f"{_AGAIN}."
            )
    return {number: (sides["train"], sides["test"]) for number, sides in sorted(found.items())}


def _side(path: Path) -> Side:
    what = "a side of a split"
    with reading(what, path, _AGAIN):
        header, *rows = read_rows(path, what, _AGAIN)
        absent = [name for name in COLUMNS if name not in header]
        if absent:
            raise DataError(
                f"Expected columns {', '.join(COLUMNS)} in {path}, found {', '.join(header) or 'none'}; {_AGAIN}."
            )
        at = [header.index(name) for name in COLUMNS]
        cells = [tuple(row[i].strip() for i in at) for row in rows if any(row)]
    return {
        check_name("a sample", sample): (_inside(patches, path), _inside(counts, path))
        for sample, patches, counts in cells
    }


def _inside(text: str, path: Path) -> str:
    place = PurePosixPath(text)
    if place.is_absolute() or not place.parts or ".." in place.parts or "\\" in text or ":" in text:
        raise DataError(f"Expected a path in the task's folder in {path}, found '{text[:100]}'; {_AGAIN}.")
    return text


def _genes(path: Path) -> tuple[str, ...]:
    what = "a task's genes"
    with reading(what, path, _AGAIN):
        found = read_json(path, what, _AGAIN)
        genes = found["genes"] if isinstance(found, dict) else found
        sound = isinstance(genes, list) and all(isinstance(gene, str) and gene.isprintable() for gene in genes)
        if not sound or not 1 <= len(set(genes)) == len(genes) <= HEADLINE:
            raise DataError(
                f"Expected a list of at most {HEADLINE} genes, each once, in {path}, found another one; {_AGAIN}."
            )
    return tuple(genes)


def _patients(samples: Iterable[str], tested: list[set[str]]) -> dict[str, str]:
    """Whom each sample stands for: those that are tested in the same splits may be of one patient, others are not."""
    groups: dict[tuple[bool, ...], list[str]] = {}
    for sample in samples:
        groups.setdefault(tuple(sample in test for test in tested), []).append(sample)
    return {
        sample: group[0] if len(group) == 1 else f"{group[0]} and {len(group) - 1} more"
        for group in groups.values()
        for sample in group
    }


def _read(entry: SectionEntry, base: Path) -> Section:
    """A sample: the spots that have a patch, whatever `in_tissue` says of them, as the benchmark takes them.

    Raises:
        DataError: see `read_h5ad`; or patches of other spots.
    """
    assert entry.image is not None
    section = read_h5ad(entry, base / entry.file, everywhere=True)
    image = base / entry.image
    barcodes = patch_barcodes(image)
    known = set(section.spots)
    lost = [barcode for barcode in barcodes if barcode not in known]
    if lost or len(set(barcodes)) != len(barcodes) or not barcodes:
        found = f"found {len(lost)} that are none of its ({lost[0]}, ...)" if lost else "found one twice, or none"
        raise DataError(
            f"Section {entry.id}: expected the barcodes of {image.name} to be spots of {entry.file}, {found}; give the patches and "
            "counts of one sample."
        )
    having = set(barcodes)
    rows = np.array([i for i, spot in enumerate(section.spots) if spot in having])
    left = section.n_spots - len(rows)
    notes = (f"{left} spots have no patch and are left out",) if left else ()
    return replace(section.rows(rows, notes), scales=(Stated(PATCH_MICRONS, "HEST's patches"),))

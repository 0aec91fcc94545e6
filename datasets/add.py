"""Write the card of a user's own dataset from a folder: what lies there is found, what is not known is left to name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataError, unknown
from ..files import write_text
from ..names import check_name, patient_name

IMAGES = (".svs", ".ome.tif", ".ome.tiff", ".tif", ".tiff", ".btf", ".jpg", ".jpeg", ".png")
SPOTS = "_spots.csv"


def write_dataset_card(
    folder: Path, form: str | None, name: str, to: Path, patients: Path | None = None, layer: str | None = None
) -> list[dict[str, Any]]:
    """Write the card of the sections in `folder` to `to`; returns its sections.

    Args:
        form: h5ad, hest, tables or visium; found out where it is None. patients: CSV with columns section and patient.
        layer: where raw counts lie in `.h5ad` files.

    Raises:
        ConfigurationError: an unknown format or a name that does not do. DataError: nothing found, or a bad table of
            patients.
    """
    if form is not None and form not in _FIND:
        raise unknown("format", form, _FIND)
    check_name("a dataset (--name)", name)
    if not folder.is_dir():
        raise DataError(f"Expected a folder of sections at {folder}, but there is none.")
    wanted = (
        [form] if form else ["hest", "visium", "h5ad", "tables"]
    )  # HEST's and Visium's folders hold .h5ad or .csv files too
    for kind in wanted:
        if sections := _FIND[kind](folder):
            break
    else:
        raise DataError(
            f"Expected sections in {folder} ({', '.join(wanted)}), found none; see docs/own-data.md for how the "
            "files must lie."
        )
    if patients is not None:
        _name_patients(sections, read_patients(patients), patients)
    if layer is not None:
        sections = [{**section, "layer": layer} for section in sections]
    card: dict[str, Any] = {
        "name": name,
        "title": name,
        "simulated": False,
        "reader": kind,
        "folder": os.path.relpath(folder, to.parent),
        "sections": sections,
    }
    head = (
        "# A dataset for qbench; docs/own-data.md says what each line means.\n"
        "# Name the patient of every section: folds are made on patients, and only named ones are kept apart.\n"
    )
    write_text(to, head + yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=120))
    return sections


def read_patients(path: Path) -> dict[str, str | None]:
    """section -> patient, from a CSV with these two columns; None where a cell names nobody.

    Raises:
        DataError: columns that are not there, or a section twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {"section", "patient"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"Expected columns section and patient in {path}, found "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}."
                )
            rows = [(row["section"], patient_name(row["patient"])) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Expected a table of patients in {path}, but {error}.") from error
    if len({section for section, _ in rows}) != len(rows):
        raise DataError(f"Expected each section once in {path}; remove the duplicates.")
    return dict(rows)


def _name_patients(sections: list[dict[str, Any]], patients: Mapping[str, str | None], path: Path) -> None:
    ids = {section["id"] for section in sections}
    foreign = sorted(set(patients) - ids)
    if foreign:
        raise DataError(
            f"{path} names {', '.join(foreign)}, but the sections here are {', '.join(sorted(ids))}; correct the names."
        )
    for section in sections:
        if section["id"] in patients:
            section["patient"] = patients[section["id"]]


def _find_h5ad(folder: Path) -> list[dict[str, Any]]:
    return [
        _section(path.stem, _patient_in(path), path.name, image=_image_of(folder, path.stem))
        for path in sorted(folder.glob("*.h5ad"))
    ]


def _find_visium(folder: Path) -> list[dict[str, Any]]:
    found = {path.parent for path in folder.rglob("filtered_feature_bc_matrix*") if (path.parent / "spatial").is_dir()}
    sections = []
    for path in sorted(found):
        own = path.parent if path.name == "outs" and path != folder else path
        name = own.name if own != folder else folder.resolve().name
        sections.append(_section(name, None, path.relative_to(folder).as_posix(), image=_image_of(folder, name)))
    return sections


def _find_hest(folder: Path) -> list[dict[str, Any]]:
    for inner in ("st", "adata"):
        if paths := sorted((folder / inner).glob("*.h5ad")):
            return [_section(path.stem, _hest_patient(folder, path.stem), path.stem) for path in paths]
    return []


def _find_tables(folder: Path) -> list[dict[str, Any]]:
    sections = []
    for spots in sorted(folder.glob(f"*{SPOTS}")):
        name = spots.name.removesuffix(SPOTS)
        for ending in (".csv", ".tsv", ".csv.gz", ".tsv.gz"):
            if (folder / f"{name}{ending}").is_file():
                sections.append(
                    _section(name, None, f"{name}{ending}", spots=spots.name, image=_image_of(folder, name))
                )
                break
    return sections


_FIND: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "h5ad": _find_h5ad,
    "hest": _find_hest,
    "tables": _find_tables,
    "visium": _find_visium,
}


def _section(name: str, patient: str | None, file: str, **more: str | None) -> dict[str, Any]:
    return {
        "id": check_name("a section", name),
        "patient": patient,
        "file": file,
        **{key: value for key, value in more.items() if value is not None},
    }


def _image_of(folder: Path, name: str) -> str | None:
    """An image of the section's name, beside its file or in `images`."""
    for inner in (folder, folder / "images"):
        for ending in IMAGES:
            if (inner / f"{name}{ending}").is_file():
                return (inner / f"{name}{ending}").relative_to(folder).as_posix()
    return None


def _patient_in(path: Path) -> str | None:
    """The patient that every spot of an AnnData file names, or None: a spot without a name may be anybody's."""
    from .readers.anndata_file import open_anndata, read_part

    with open_anndata(path) as file:
        obs = read_part(file, "obs")
    named = {patient_name(value) for value in obs["patient"].unique()} if "patient" in obs else set()
    return named.pop() if len(named) == 1 else None


def _hest_patient(folder: Path, name: str) -> str | None:
    """Study and label: one study's "Patient 1" is another person than the next one's."""
    path = folder / "metadata" / f"{name}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        study, label = patient_name(found.get("dataset_title")), patient_name(found.get("patient"))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"Expected a sample's metadata in {path}, but {error}; fetch it again.") from error
    return f"{study} - {label}" if study and label else None

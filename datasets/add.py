"""Write the card of a user's own dataset from a folder: what lies there is found, what is not known is left to name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import ConfigurationError, DataError, unknown
from ..files import write_text
from ..names import check_name, patient_name
from .find import BINNED, FORMS, find_sections, parse_bin
from .spot_tables import table_rows


def write_dataset_card(
    folder: Path,
    form: str | None,
    name: str,
    to: Path,
    patients: Path | None = None,
    layer: str | None = None,
    bin_edge: str | None = None,
) -> list[dict[str, Any]]:
    """Write the card of the sections in `folder` to `to`; returns its sections.

    Args:
        folder: of the files; the card names it relative to itself.
        form: h5ad, hest, tables or visium; found out where it is None.
        name: of the dataset.
        to: the card, YAML.
        patients: CSV with columns section and patient.
        layer: where raw counts lie in `.h5ad` files.
        bin_edge: "8um", of the bins of Visium HD, or that Xenium is binned to.

    Raises:
        ConfigurationError: an unknown format or a name that does not do.
        DataError: nothing found, or a bad table of patients.
    """
    if form is not None and form not in FORMS:
        raise unknown("format", form, FORMS)
    check_name("a dataset (--name)", name)
    if not folder.is_dir():
        raise DataError(
            f"Expected a folder of sections at {folder}, but there is none; name the folder that holds your sections."
        )
    bin_um = None if bin_edge is None else parse_bin(bin_edge)
    wanted = [form] if form else list(FORMS)
    for kind in wanted:
        if sections := find_sections(kind, folder, bin_um):
            break
    else:
        raise DataError(
            f"Expected sections in {folder} ({', '.join(wanted)}), found none; see docs/own-data.md for how the "
            "files must lie."
        )
    if bin_um is not None and kind not in BINNED:
        raise ConfigurationError(f"--bin is for {' and '.join(BINNED)}, but {folder} holds {kind}; leave it out.")
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
    """By section its patient, from a CSV with these two columns; None where a cell names nobody.

    Raises:
        DataError: columns that are not there, or a section twice.
    """
    listed = table_rows(path, ("section", "patient"), ",", "write these two as CSV, with a comma between")
    rows = [(row["section"], patient_name(row["patient"])) for _, row in listed]
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

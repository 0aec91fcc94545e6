"""A cell's folder: scores, predictions, diagnostics, the model and the record, written aside and renamed at the end."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from ...datasets.target import integer_counts
from ...errors import QbenchError, reason
from ...files import disk_full, written_folder
from ...leaderboard.record import Failure, Record
from ...leaderboard.seal import UNSET, own_hash
from ...leaderboard.stored import hash_files
from ...methods.method import Method
from .pictures import spatial_entry
from .result import CellResult

RECORD = "record.json"


def failure(error: BaseException, frames: traceback.StackSummary) -> Failure:
    """An exception as a record keeps it: file names without folders, for a record holds no path of a machine."""
    lines = [
        f"{Path(f.filename).parent.name}/{Path(f.filename).name}:{f.lineno} in {f.name}: {_without_paths(f.line or '')}"
        for f in frames
    ]
    return Failure(type=type(error).__name__, message=_without_paths(str(error)), traceback="\n".join(lines))


def _without_paths(text: str) -> str:
    """Every absolute path as the name of its file or folder; URLs, and words with a slash between them, stay."""
    quoted = re.sub(r"(['\"])/(?:[^'\"\n]*/)?([^/'\"\n]+)\1", r"\1\2\1", text)
    return re.sub(r"(?<![\w.:/~])/(?:[^\s/'\":;,]+/)*(?=[^\s/])", "", quoted)


@contextlib.contextmanager
def work_directory(folder: Path) -> Iterator[Path]:
    """Where a cell keeps checkpoints: survives a kill, so that training goes on; removed when the cell ends."""
    work = folder.parent / ".work" / folder.name
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    yield work
    shutil.rmtree(work, ignore_errors=True)


def write_cell(
    folder: Path,
    record: Record,
    result: CellResult | None,
    history: list[dict[str, float]],
    method: Method | None = None,
) -> Record:
    """Write a cell's folder under a temporary name, flush it to disk and rename it; returns the record as written.

    Raises:
        QbenchError: the folder cannot be written (a full disk, no permission). Nothing half-written stays under its
            name.
    """
    lock = FileLock(folder.parent / ".lock")  # a failed earlier try, or the same cell by a run beside this one
    try:
        with written_folder(folder, lock) as temporary:
            if result is not None:
                _write_scores(temporary / "scores.parquet", result)
                _write_predictions(temporary / "predictions.h5ad", result)
                if method is not None:
                    method.save(temporary / "model")
                    record = _with_hashes(record, model=hash_folder(temporary / "model"))
            _write_diagnostics(temporary / "diagnostics.npz", history, {} if result is None else result.diagnostics)
            files = hash_files(temporary)
            record = _with_hashes(record, files=files)
            digest = own_hash(_json(_with_hashes(record, record=UNSET)))
            (temporary / RECORD).write_text(_json(_with_hashes(record, record=digest)), encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise unwritable(folder, error) from error
    return record


def _with_hashes(record: Record, /, **hashes: Any) -> Record:
    return record.model_copy(update={"hashes": record.hashes.model_copy(update=hashes)})


def _json(record: Record) -> str:
    return record.model_dump_json(by_alias=True, indent=1)


def unwritable(folder: Path, error: OSError | RuntimeError) -> QbenchError:
    """One sentence for a save that failed; a failed save is never a warning.

    Raises:
        RuntimeError: one that no full disk is behind, which is a defect of who writes.
    """
    full = disk_full(error)
    if isinstance(error, RuntimeError) and not full:
        raise error
    found = QbenchError(
        f"Could not save {folder}: {'the disk is full' if full else getattr(error, 'strerror', None) or reason(error)}; "
        + (
            "free some space and run the same command again, finished cells are kept."
            if full
            else "choose another place for it."
        )
    )
    found.exit_code = 1
    return found


def _write_scores(path: Path, result: CellResult) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: pa.array(values) for name, values in result.columns().items()}), path)


def _write_predictions(path: Path, result: CellResult) -> None:
    """One AnnData of all sections; `uns["spatial"]` by section, so that scanpy and squidpy draw each over its tissue."""
    import anndata
    import h5py
    import pandas as pd
    from anndata.io import write_elem

    sections = result.sections
    prediction = np.concatenate([r.prediction for r in sections])
    obs = pd.DataFrame(
        {
            "section": np.concatenate([[r.section.id] * r.section.n_spots for r in sections]),
            "patient": np.concatenate([[r.section.patient] * r.section.n_spots for r in sections]),
            "spot": np.concatenate([r.section.spots for r in sections]),
            "library_size": np.concatenate([r.library_size for r in sections]),
        },
        index=[f"{r.section.id}_{spot}" for r in sections for spot in r.section.spots],
    )
    data = anndata.AnnData(X=prediction, obs=obs, var=pd.DataFrame(index=list(sections[0].section.genes)))
    data.layers["truth"] = np.concatenate([r.truth for r in sections])
    raw = [r.unclamped for r in sections if r.unclamped is not None]
    if raw and len(raw) == len(sections):
        data.layers["unclamped"] = np.concatenate(raw)
    packed: dict[str, NDArray[Any]] = {}  # small integers and pictures, which shrink to a fraction
    if result.target == "counts":
        packed["layers/counts"] = integer_counts(prediction)[0]
    data.obsm["array"] = np.concatenate([r.section.array_xy for r in sections])
    pixels = [r.section.pixel_xy for r in sections]
    if all(p is not None for p in pixels):
        data.obsm["spatial"] = np.concatenate([p for p in pixels if p is not None])
        entries = {
            r.section.id: spatial_entry(r.picture, r.spot_diameter, pixel_xy)
            for r, pixel_xy in zip(sections, pixels, strict=True)
            if pixel_xy is not None
        }
        for name, entry in entries.items():
            packed |= {f"uns/spatial/{name}/images/{kind}": image for kind, image in entry["images"].items()}
        data.uns["spatial"] = {name: {**entry, "images": {}} for name, entry in entries.items()}
    data.uns["target"] = result.target
    data.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name, values in packed.items():
            group, _, key = name.rpartition("/")  # anndata takes no path from 0.13 on
            write_elem(file[group or "/"], key, values, dataset_kwargs={"compression": "gzip", "compression_opts": 1})


def _write_diagnostics(path: Path, history: list[dict[str, float]], arrays: dict[str, NDArray[Any]]) -> None:
    names = dict.fromkeys(name for epoch in history for name in epoch)
    epochs = {f"history/{name}": np.array([epoch.get(name, np.nan) for epoch in history]) for name in names}
    np.savez_compressed(path, **epochs, **arrays)  # type: ignore[arg-type]


def hash_folder(folder: Path) -> str:
    """sha256 over the names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

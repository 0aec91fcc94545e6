"""Every boundary at which a file of others comes in: how a sound one is made, and how it is read."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import tifffile
from PIL import Image
from qbench.array_files import read_array, read_arrays, read_parquet, read_weights
from qbench.benchmark.external.table import read_predictions
from qbench.benchmark.read_settings import read_settings
from qbench.datasets.add import read_patients
from qbench.datasets.cache import ArrayCache
from qbench.datasets.images import open_image
from qbench.datasets.patch_file import read_all_patches
from qbench.datasets.registry import open_dataset
from qbench.datasets.unpack import unpack
from qbench.leaderboard.record import read_record
from qbench.text_files import read_json
from safetensors.numpy import save_file

from ..support.datasets_sections import counts, grid, write_card, write_h5ad, write_image, write_tables, write_visium
from ..support.leaderboard_runs import make_runs

WORDS = ("what it is to be", "write it anew")


@dataclass(frozen=True)
class Boundary:
    """A sound input in a folder of its own: which of its files is damaged, and what reads it."""

    name: str
    folder: Path
    file: str
    read: Callable[[Path], Any]


def boundaries(root: Path) -> Iterator[Boundary]:
    """All of them, with their sound inputs made below `root`."""
    yield from _sections(root)
    yield from _images(root)
    yield from _arrays(root)
    yield from _archives(root)
    yield from _texts(root)


def _section(folder: Path) -> None:
    open_dataset(str(folder / "card.yaml"), None, ArrayCache(folder / "cache")).load("S1")


def _sections(root: Path) -> Iterator[Boundary]:
    folder = root / "h5ad"
    write_h5ad(folder / "S1.h5ad", spatial=grid(), layers={"counts": counts()})
    write_card(folder / "card.yaml", "h5ad", [{"id": "S1", "patient": "P1", "file": "S1.h5ad"}])
    yield Boundary("h5ad", folder, "S1.h5ad", _section)
    yield Boundary("card", folder, "card.yaml", _section)
    folder = root / "tables"
    write_tables(folder)
    entry = {"id": "S1", "patient": "P1", "file": "S1.csv", "spots": "S1_spots.csv"}
    write_card(folder / "card.yaml", "tables", [entry])
    yield Boundary("counts csv", folder, "S1.csv", _section)
    yield Boundary("spots csv", folder, "S1_spots.csv", _section)
    folder = root / "packed"
    write_tables(folder)
    (folder / "S1.csv.gz").write_bytes(gzip.compress((folder / "S1.csv").read_bytes()))
    write_card(folder / "card.yaml", "tables", [{**entry, "file": "S1.csv.gz"}])
    yield Boundary("counts csv.gz", folder, "S1.csv.gz", _section)
    for mtx in (False, True):
        folder = root / f"visium-{mtx}"
        write_visium(folder / "outs", mtx=mtx)
        write_card(folder / "card.yaml", "visium", [{"id": "S1", "patient": "P1", "file": "outs"}])
        matrix = "filtered_feature_bc_matrix/matrix.mtx.gz" if mtx else "filtered_feature_bc_matrix.h5"
        yield Boundary("10x mtx" if mtx else "10x h5", folder, f"outs/{matrix}", _section)
        if not mtx:
            yield Boundary("10x positions", folder, "outs/spatial/tissue_positions.csv", _section)
            yield Boundary("10x factors", folder, "outs/spatial/scalefactors_json.json", _section)


def _images(root: Path) -> Iterator[Boundary]:
    pixels = np.asarray(Image.open(write_image(root / "images" / "a.png", 300, 200)))
    for name in ("b.jpg", "c.webp", "d.bmp", "e.gif"):
        Image.fromarray(pixels).save(root / "images" / name)
    tifffile.imwrite(root / "images" / "f.tif", pixels, tile=(64, 64), photometric="rgb", compression="zlib")
    for path in sorted((root / "images").iterdir()):
        yield Boundary(
            path.suffix[1:], root / "images", path.name, lambda folder, n=path.name: open_image(folder / n).decode_all()
        )
    folder = root / "patches"
    folder.mkdir()
    with h5py.File(folder / "p.h5", "w") as file:
        file["img"] = np.zeros((4, 32, 32, 3), np.uint8)
        file["barcode"] = np.array([[b"a"], [b"b"], [b"c"], [b"d"]])
    yield Boundary("patches h5", folder, "p.h5", lambda folder: read_all_patches(folder / "p.h5"))


def _arrays(root: Path) -> Iterator[Boundary]:
    folder = root / "arrays"
    folder.mkdir()
    np.savez_compressed(folder / "a.npz", a=np.arange(500.0), b=np.ones((3, 4), np.float32))
    np.save(folder / "a.npy", np.arange(500.0))
    save_file({"a": np.arange(500.0)}, folder / "a.safetensors")
    rows = [("S1", f"spot{i}", gene, i / 3) for i in range(12) for gene in ("A", "B")]
    table = pd.DataFrame(rows, columns=["section", "spot", "gene", "prediction"])
    table.to_parquet(folder / "a.parquet")
    table.to_csv(folder / "p.csv", index=False)
    table.to_parquet(folder / "p.parquet")
    obs = pd.DataFrame(
        {"section": ["S1"] * 12, "spot": [f"spot{i}" for i in range(12)]}, index=[f"n{i}" for i in range(12)]
    )
    write_h5ad(folder / "p.h5ad", obs=obs)
    readers: dict[str, Any] = {
        "a.npz": read_arrays, "a.npy": read_array, "a.safetensors": read_weights, "a.parquet": read_parquet,
    }  # fmt: skip
    for name, read in readers.items():
        yield Boundary(name[2:], folder, name, lambda folder, n=name, read=read: read(folder / n, *WORDS))
    for name in ("p.csv", "p.parquet", "p.h5ad"):
        yield Boundary(f"predictions {name[2:]}", folder, name, lambda folder, n=name: read_predictions(folder / n))


def _archives(root: Path) -> Iterator[Boundary]:
    folder = root / "archives"
    folder.mkdir()
    (folder / "in.txt").write_text("text\n" * 100)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "in.txt", "in.txt")
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "in.txt", "in.txt")
    for name in ("a.zip", "a.tar.gz"):
        yield Boundary(name[2:], folder, name, lambda folder, n=name: _unpack(folder, n))


def _unpack(folder: Path, name: str) -> None:
    (folder / "to").mkdir(exist_ok=True)
    unpack(folder / name, folder / "to", {r".*\.txt": r"out.txt"})


def _texts(root: Path) -> Iterator[Boundary]:
    folder = root / "texts"
    folder.mkdir()
    (folder / "a.json").write_text('{"a": [1, 2.5, "b"], "c": {"d": null}}')
    yield Boundary("json", folder, "a.json", lambda folder: read_json(folder / "a.json", *WORDS))
    (folder / "patients.csv").write_text("section,patient\nS1,P1\nS2,P2\n")
    yield Boundary("patients csv", folder, "patients.csv", lambda folder: read_patients(folder / "patients.csv"))
    (folder / "run.yaml").write_text("methods: [mean, ridge]\nseeds: [0, 1]\nmax-epochs: 3\n")
    yield Boundary("config", folder, "run.yaml", lambda folder: read_settings({}, folder / "run.yaml"))
    make_runs(root / "record", {"mean": 0.5}, patients="A", sections=1)
    [path] = (root / "record").rglob("record.json")
    yield Boundary(
        "record",
        root / "record",
        str(path.relative_to(root / "record")),
        lambda f, p=path: read_record(f / p.relative_to(root / "record")),
    )

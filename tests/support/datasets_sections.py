"""Small sections in the formats of the readers, made on the fly."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from PIL import Image
from scipy import sparse

GENES = ("ERBB2", "COL1A1", "CD74", "KRT19", "VWF", "ACTB")


def counts(n: int = 12, genes: int = 6, seed: int = 0) -> np.ndarray:
    """int32 (n, genes), some of them zero, none of the columns constant."""
    return np.random.default_rng(seed).poisson(np.linspace(1, 9, genes), (n, genes)).astype(np.int32)


def grid(n: int = 12, pitch: float = 100.0, start: float = 150.0) -> np.ndarray:
    """float64 (n, 2): spots on a square grid of four columns, pixels."""
    index = np.arange(n)
    return np.column_stack([start + pitch * (index % 4), start + pitch * (index // 4)]).astype(np.float64)


def hexagons(n: int = 14, pitch: float = 100.0, start: float = 100.0) -> np.ndarray:
    """Spot centres on a hexagonal array, rows of four, odd rows half a pitch to the right."""
    column, row = np.arange(n) % 4, np.arange(n) // 4
    return np.column_stack([start + pitch * (column + row % 2 / 2), start + pitch * 0.75**0.5 * row])


def write_image(path: Path, width: int = 600, height: int = 500, seed: int = 0) -> Path:
    """An RGB image of smooth blotches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(60, 240, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def write_h5ad(
    path: Path, values: Any = None, genes: tuple[str, ...] = GENES, spatial: np.ndarray | None = None, **parts: Any
) -> Path:
    """An AnnData file; `parts` are further arguments of AnnData (layers, obs, var, raw, ...)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = counts() if values is None else values
    obs = parts.pop("obs", pd.DataFrame(index=[f"spot{i}" for i in range(values.shape[0])]))
    var = parts.pop("var", pd.DataFrame(index=list(genes)))
    data = anndata.AnnData(X=sparse.csr_matrix(values), obs=obs, var=var, **parts)
    if spatial is not None:
        data.obsm["spatial"] = spatial
    data.write_h5ad(path)
    return path


def write_visium(
    folder: Path, names: tuple[str, ...] = GENES, mtx: bool = False, header: bool = True, seed: int = 1
) -> np.ndarray:
    """A Space Ranger folder of twelve spots under tissue and two outside; returns the counts under tissue."""
    values = counts(14, len(names), seed=seed)
    barcodes = [f"AAAC{i:02d}-1" for i in range(14)]
    (folder / "spatial").mkdir(parents=True, exist_ok=True)
    if mtx:
        inner = folder / "filtered_feature_bc_matrix"
        inner.mkdir()
        rows, columns = np.nonzero(values.T)
        lines = [f"{r + 1} {c + 1} {values[c, r]}" for r, c in zip(rows, columns, strict=True)]
        text = (
            "%%MatrixMarket matrix coordinate integer general\n"
            + f"{len(names)} 14 {len(lines)}\n"
            + "\n".join(lines)
            + "\n"
        )
        for name, body in (
            ("matrix.mtx.gz", text),
            ("features.tsv.gz", "".join(f"ENSG{i:011d}\t{name}\tGene Expression\n" for i, name in enumerate(names))),
            ("barcodes.tsv.gz", "".join(f"{name}\n" for name in barcodes)),
        ):
            (inner / name).write_bytes(gzip.compress(body.encode()))
    else:
        write_tenx_h5(folder / "filtered_feature_bc_matrix.h5", values, names, barcodes)
    pixel = hexagons(14)
    table = pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": [1] * 12 + [0] * 2,
            "array_row": [i // 4 for i in range(14)],
            "array_col": [2 * (i % 4) + (i // 4) % 2 for i in range(14)],
            "pxl_row_in_fullres": pixel[:, 1],
            "pxl_col_in_fullres": pixel[:, 0],
        }
    )
    name = "tissue_positions.csv" if header else "tissue_positions_list.csv"
    table.to_csv(folder / "spatial" / name, index=False, header=header)
    (folder / "spatial" / "scalefactors_json.json").write_text(
        json.dumps({"tissue_hires_scalef": 0.1, "spot_diameter_fullres": 55.0})
    )
    write_image(folder / "spatial" / "tissue_hires_image.png", 60, 50)
    return values[:12]


def write_tenx_h5(path: Path, values: np.ndarray, names: tuple[str, ...], barcodes: list[str]) -> Path:
    """A matrix of counts, int (barcodes, genes), in the HDF5 of Space Ranger."""
    matrix = sparse.csr_matrix(values)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name, array in (("data", matrix.data), ("indices", matrix.indices), ("indptr", matrix.indptr)):
            group[name] = array
        group["shape"] = np.array([len(names), len(barcodes)])
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["features/name"] = np.array(names, dtype="S")
        group["features/id"] = np.array([f"ENSG{i:011d}" for i in range(len(names))], dtype="S")
        group["features/feature_type"] = np.array(["Gene Expression"] * len(names), dtype="S")
    return path


def write_tables(folder: Path, section: str = "S1", separator: str = ",", seed: int = 0) -> np.ndarray:
    """A table of counts and one of spots; returns the counts."""
    folder.mkdir(parents=True, exist_ok=True)
    values = counts(seed=seed)
    spots = [f"spot{i}" for i in range(len(values))]
    ending = "csv" if separator == "," else "tsv"
    pd.DataFrame(values, index=spots, columns=list(GENES)).to_csv(folder / f"{section}.{ending}", sep=separator)
    pd.DataFrame({"spot": spots, "x": grid()[:, 0], "y": grid()[:, 1]}).to_csv(
        folder / f"{section}_spots.csv", index=False
    )
    return values


def write_card(path: Path, reader: str, sections: list[dict[str, Any]], **more: Any) -> Path:
    """A dataset's card."""
    import yaml

    path.write_text(
        yaml.safe_dump(
            {"name": "mine", "title": "Mine", "simulated": False, "reader": reader, "sections": sections, **more}
        )
    )
    return path

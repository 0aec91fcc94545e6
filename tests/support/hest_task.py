"""A made-up task in HEST-bench's layout; as a program, `python -P hest_task.py DIR/IDC` writes one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

SPLITS = (("S1",), ("S2",), ("S3", "S4"))  # tested together, or alone
GENES = tuple(f"G{i}" for i in range(12))  # of which the last two are scored nowhere


def write_task(folder: Path, spots: int = 40, splits: Sequence[Sequence[str]] = SPLITS, seed: int = 0) -> Path:
    """Write a task whose genes follow the colour of the patches, with noise; two spots a sample have no patch."""
    rng = np.random.default_rng(seed)
    samples = [sample for group in splits for sample in group]
    weights = rng.normal(0, 0.7, (4, len(GENES)))
    for name in ("patches", "adata", "splits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for sample in samples:
        latent = rng.normal(0, 1, (spots, 4)) + rng.normal(0, 0.3, 4)
        rate = np.exp(1 + latent @ weights / 2 + rng.normal(0, 0.3, (spots, len(GENES))))
        xy = np.column_stack([300 + 120 * (np.arange(spots) % 8), 300 + 120 * (np.arange(spots) // 8)]).astype(float)
        barcodes = [f"{sample}-{i}" for i in range(spots)]
        data = anndata.AnnData(
            X=sparse.csr_matrix(rng.poisson(rate).astype(np.float32)),
            obs=pd.DataFrame({"in_tissue": [0, *[1] * (spots - 1)]}, index=barcodes),  # which means nothing there
            var=pd.DataFrame(index=list(GENES)),
        )
        data.obsm["spatial"] = xy
        data.write_h5ad(folder / "adata" / f"{sample}.h5ad")
        order = rng.permutation(spots)[: spots - 2]
        colour = 128 + 20 * latent[order, :3]
        texture = np.exp(0.4 * latent[order, 3])[:, None, None, None] * rng.normal(0, 12, (1, 224, 224, 3))
        with h5py.File(folder / "patches" / f"{sample}.h5", "w") as file:
            patches = np.clip(colour[:, None, None, :] + texture, 0, 255).astype(np.uint8)
            file.create_dataset("img", data=patches, chunks=(1, 224, 224, 3), compression=1)
            file["barcode"] = np.array([[barcodes[i]] for i in order], dtype="S")
            file["coords"] = xy[order].astype(int)
    for number, group in enumerate(splits):
        for side, chosen in (("test", group), ("train", [name for name in samples if name not in group])):
            rows = [(name, f"patches/{name}.h5", f"adata/{name}.h5ad") for name in chosen]
            table = pd.DataFrame(rows, columns=["sample_id", "patches_path", "expr_path"])
            table.to_csv(folder / "splits" / f"{side}_{number}.csv", index=False)
    (folder / "var_50genes.json").write_text(json.dumps({"genes": list(GENES[:-2])}))
    return folder


if __name__ == "__main__":
    print(
        f"{write_task(Path(sys.argv[1]))} is written: --tasks {Path(sys.argv[1]).name} --data-dir {Path(sys.argv[1]).parent}"
    )

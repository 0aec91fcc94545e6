"""A slide by a model that tuned its backbone."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pytest
from qbench.benchmark.predict.fit import fit_model
from qbench.benchmark.predict.slide import predict_slide
from qbench.benchmark.settings import RunSettings

from ...support.slide_images import stained_dataset


@pytest.mark.slow
def test_a_tuned_backbone_predicts_as_it_was_fitted_unless_the_runtime_says_otherwise(
    tmp_path: Path,
) -> None:
    data = stained_dataset(tmp_path, 3)
    asked = RunSettings(
        methods=("stnet[backbone=test_resnet,batch_size=4,learning_rate=0.05]",), dataset=str(data), profile="paper",
        encoder_weights=("random",), runtime="eager:bf16", max_epochs=1,
    )  # fmt: skip
    record = fit_model(asked, tmp_path / "model")
    assert record.fitted["backbone"]["evaluation"] == "eager:bf16"
    found = {}
    for name, runtime in {"kept": "auto", "bf16": "eager:bf16", "fp32": "eager:fp32"}.items():
        predict_slide(
            tmp_path / "model", data.parent / "S1.png", tmp_path / f"{name}.h5ad", "60um", None, 0.5, runtime=runtime
        )
        found[name] = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
    said = {name: table.uns["qbench"].get("evaluation") for name, table in found.items()}
    assert said == {"kept": "eager:bf16", "bf16": "eager:bf16", "fp32": None}
    kept, bf16, fp32 = (table.X for table in found.values())
    assert np.array_equal(kept, bf16)
    assert 0 < np.abs(kept - fp32).max() < 0.2

"""Predict the sections of a dataset with a fitted model, spot by spot, as a run predicts its test sections."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...datasets.cache import ArrayCache
from ...datasets.folds import Part
from ...datasets.registry import Dataset, open_dataset
from ...datasets.target import integer_counts
from ...errors import ConfigurationError
from ...files import written
from ...methods.encoders.registry import Weights
from ..engine.cohorts import seal
from ..engine.fit_predict import predict
from ..engine.identity import read_spots
from ..engine.inputs import Progress, prepare
from ..engine.settle import choose_sections
from ..engine.store import unwritable
from .model import FittedModel, load_model
from .slide import Predicted

if TYPE_CHECKING:
    from anndata import AnnData


def predict_sections(
    model: Path,
    name: str,
    data_dir: Path | None,
    sections: tuple[str, ...],
    output: Path,
    weights: Mapping[str, Weights],
    device: str,
    runtime: str,
    progress: Progress | None = None,
) -> Predicted:
    """Write an `.h5ad` of a dataset's sections that `qbench score` reads: X float32 log1p, obs section, patient and spot.

    Args:
        model: folder of a fitted model.
        name: of the dataset, or the path of its card.
        data_dir: folder of its files.
        sections: ids; all if empty.
        output: the `.h5ad`.
        weights: of encoders, where the model was fitted with other than the default ones.
        device: "auto", "cpu" or "cuda".
        runtime: what computes the features, see `machine.choose_runtime`.
        progress: called with (what, done, total).

    Raises:
        ConfigurationError: no `.h5ad`, an unknown section, or other encoder weights than the model's.
        DataError, MethodError: see `load_model` and `prepare`.
    """
    if output.suffix != ".h5ad":
        raise ConfigurationError(f"Expected an .h5ad as --output of a dataset's sections, found {output}; name one.")
    fitted = load_model(model, weights, device, runtime)
    cache = ArrayCache()
    dataset = open_dataset(name, data_dir, cache)
    infos, notes = choose_sections(dataset, sections, fitted.inputs.image, None)
    ids = [info.id for info in infos]
    patch = fitted.record.patch if fitted.inputs.image else None
    views = {"": fitted.inputs.views}
    reads = fitted.inputs
    inputs = prepare(dataset, ids, fitted.encoders, patch, cache, progress, views, reads.pixels, [reads.surroundings])
    parts = []
    for section_id in ids:
        sealed = seal(dataset.load(section_id), Part(section_id), fitted.record.panel.genes, inputs)
        # What weights of another repository predict is theirs to say, and may lie below 0.
        values = predict(fitted.method, sealed, fitted.record.target != "as trained")
        parts.append((sealed.id, sealed.patient, sealed.spots, values))
    table = _table(parts, fitted)
    try:
        with written(output) as temporary:
            table.write_h5ad(temporary)
    except (OSError, RuntimeError) as error:
        raise unwritable(output, error) from error
    return Predicted(table.n_obs, 0, [*dataset.notes, *notes, *_learned(dataset, ids, fitted, cache)])


def _table(parts: list[tuple[str, str, tuple[str, ...], np.ndarray]], model: FittedModel) -> AnnData:
    import anndata
    import pandas as pd

    lengths = [len(spots) for _, _, spots, _ in parts]
    obs = pd.DataFrame(
        {
            "section": np.repeat([section for section, *_ in parts], lengths),
            "patient": np.repeat([patient for _, patient, *_ in parts], lengths),
            "spot": np.concatenate([spots for _, _, spots, _ in parts]),
        },
        index=[f"{section}_{spot}" for section, _, spots, _ in parts for spot in spots],
    )
    values = np.concatenate([values for *_, values in parts])
    table = anndata.AnnData(X=values, obs=obs, var=pd.DataFrame(index=list(model.record.panel.genes)))
    if model.record.target == "counts":
        table.layers["counts"] = integer_counts(values)[0]
    table.uns["qbench"] = {"method": model.record.method, "dataset": model.record.dataset, "model": model.hash}
    return table


def _learned(dataset: Dataset, ids: list[str], model: FittedModel, cache: ArrayCache) -> list[str]:
    """A note on sections that the model was fitted on: what it says of them is no test."""
    fold = model.record.identity.get("fold", {})
    known = {part["content"] for side in ("train", "validation") for part in fold.get(side, {}).values()}
    seen = [section for section, spots in read_spots(dataset, ids, cache).items() if spots.content in known]
    return [f"The model was fitted on {', '.join(seen)}: what it predicts of them is no test."] if seen else []

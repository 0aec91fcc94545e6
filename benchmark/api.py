"""qbench from Python: the same as on the command line, for a notebook or a script.

An example::

    import qbench

    table = qbench.run(["qca", "ridge"], seeds=[0, 1])              # pandas.DataFrame, a line a row of the leaderboard
    section = qbench.load_section("her2st", "C4", data_dir="her2st")  # .to_anndata() for scanpy
    method = qbench.load_method("runs/.../model")
    slide = qbench.predict("model", "slide.svs", grid="200um")       # AnnData

`run` starts processes: in a script, call it below `if __name__ == "__main__":`.
"""

from __future__ import annotations

import inspect
import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.section import Section
from ..errors import unknown
from ..methods.method import Method
from .read_settings import read_settings
from .settings import RunSettings, words

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame

Where = str | Path


def load_section(dataset: Where, section: str, data_dir: Where | None = None) -> Section:
    """One section of a dataset: counts (CSR int32, spots x genes), genes, spots, pixels; `.to_anndata()` for scanpy.

    Args:
        dataset: a name, or the path of a card of your own.
        section: its name, "C4"; `qbench info her2st` lists them.
        data_dir: folder of its files; else the card's own folder, else QBENCH_DATA.

    Raises:
        ConfigurationError: an unknown dataset or section.
        DataError: files that are missing or damaged.
    """
    from ..datasets.cache import ArrayCache
    from ..datasets.registry import open_dataset

    return open_dataset(str(dataset), None if data_dir is None else Path(data_dir), ArrayCache()).load(section)


def _takes_settings(function: Callable[..., DataFrame]) -> Callable[..., DataFrame]:
    """Give `run` the settings of `qbench run` as arguments, with their defaults and words."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    names = list(RunSettings.model_fields)
    first = [
        inspect.Parameter("methods", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="str | Sequence[str]"),
        inspect.Parameter("dataset", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="demo", annotation="str | Path"),
    ]
    rest = [
        inspect.Parameter(name, keyword, default=field.default, annotation=field.annotation)
        for name, field in RunSettings.model_fields.items()
        if name not in ("methods", "dataset")
    ]
    quiet = inspect.Parameter("quiet", keyword, default=True, annotation="bool")
    function.__signature__ = inspect.Signature([*first, *rest, quiet], return_annotation="DataFrame")  # type: ignore[attr-defined]
    told = "\n".join(f"        {name}: {words(name)}" for name in names)
    function.__doc__ = str(function.__doc__).replace("        SETTINGS", told)
    return function


@_takes_settings  # which writes the arguments into the docstring
def run(methods: str | Sequence[str], dataset: Where = "demo", *, quiet: bool = True, **settings: Any) -> DataFrame:  # noqa: D417
    """Run methods under a protocol and return the leaderboard: a line a row, `pcc_hvg` and the like as columns.

    Spreads stand in columns of their own (`pcc_hvg_sd_patients`, `pcc_hvg_sd_seeds`); `rank` is empty for oracles and
    for rows with failed cells, whose number is in `failed`. Cells that are done are read, not run again.

    Args:
        SETTINGS
        quiet: Say only what goes wrong.

    Raises:
        ConfigurationError: an unknown name or option.
        IntegrityError: a leak.
        DataError: files missing or damaged.
    """
    import pandas as pd

    from ..leaderboard.export import tables_csv
    from ..leaderboard.record import find_records
    from ..leaderboard.transfer import summarise_beside
    from .engine.plan import make_plan
    from .engine.reporter import make_reporter
    from .engine.run import execute
    from .engine.tasks import runs_of

    for name in settings:
        if name not in RunSettings.model_fields:
            raise unknown("option of run", name, RunSettings.model_fields)
    given = {"methods": methods if isinstance(methods, str) else list(methods), "dataset": str(dataset), **settings}
    options = read_settings(given)
    plans = [make_plan(each) for each in runs_of(options)]
    records = [record for plan in plans for record in execute(plan, make_reporter(quiet, verbose=False))]
    tables = summarise_beside(records, lambda: (record for _, record in find_records(options.out)))
    return pd.read_csv(io.StringIO(tables_csv(tables)))


def load_method(directory: Where) -> Method:
    """A fitted method, from the folder `model` of a cell or one that `qbench fit` wrote.

    Raises:
        DataError: no saved method there.
        MethodError: one of another version.
    """
    from ..methods import registry

    return registry.load_method(Path(directory))


def predict(
    model: Where,
    image: Where,
    *,
    grid: str | None = None,
    spots: Where | None = None,
    microns_per_pixel: float | None = None,
    output: Where | None = None,
    encoder_weights: Sequence[str] = (),
    device: str = "auto",
) -> AnnData:
    """Predict a slide with a model that `qbench fit` wrote.

    Args:
        model: the folder that `fit` or `convert` wrote, or the folder `model` of a cell.
        image: a slide, in any format that a section's image may have.
        grid: distance of the points, "200um" or "290px"; give either this or `spots`.
        spots: CSV with columns spot, x, y in pixels of the image.
        microns_per_pixel: of the image, where its file does not state it.
        output: `.h5ad` to keep; what a killed call had done is taken up there. Not kept where it is None.
        encoder_weights: as of --encoder-weights, "NAME=FILE".
        device: "auto", "cpu" or "cuda".

    Returns:
        X: predicted log1p values, float32 (points, genes); layers["counts"]: int64, for the target counts;
        obsm["spatial"]: pixels; uns["spatial"]: the slide made small, as scanpy's plots take it.

    Raises:
        ConfigurationError, DataError, MethodError: see `benchmark.predict.slide.predict_slide`.
    """
    import anndata

    from ..methods.encoders.registry import parse_weights
    from .predict.slide import predict_slide

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predicted.h5ad" if output is None else Path(output)
        predict_slide(
            Path(model),
            Path(image),
            path,
            grid,
            None if spots is None else Path(spots),
            microns_per_pixel,
            parse_weights(encoder_weights),
            device,
        )
        return anndata.read_h5ad(path)

"""qbench from Python: the same as on the command line, for a notebook or a script.

An example::

    import qbench

    results = qbench.run(["qca", "ridge"], seeds=[0, 1])            # pandas.DataFrame, a line a row of the leaderboard
    results.by_gene()                                               # the scores behind it, a line a section and gene
    qbench.plot.board(results)                                      # matplotlib's axes
    section = qbench.load_section("her2st", "C4", data_dir="her2st")  # .to_anndata() for scanpy
    method = qbench.load_method("runs/.../model")
    slide = qbench.predict("model", "slide.svs", grid="200um")       # AnnData

`run` starts processes: in a script, call it below `if __name__ == "__main__":`.
"""

from __future__ import annotations

import inspect
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

    from ..leaderboard.frames import Results

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


def _takes_settings(function: Callable[..., Results]) -> Callable[..., Results]:
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
    quiet = inspect.Parameter("quiet", keyword, default=None, annotation="bool | None")
    function.__signature__ = inspect.Signature([*first, *rest, quiet], return_annotation="Results")  # type: ignore[attr-defined]
    told = "\n".join(f"        {name}: {words(name)}" for name in names)
    function.__doc__ = str(function.__doc__).replace("        SETTINGS", told)
    return function


@_takes_settings  # which writes the arguments into the docstring
def run(  # noqa: D417
    methods: str | Sequence[str], dataset: Where = "demo", *, quiet: bool | None = None, **settings: Any
) -> Results:
    """Run methods under a protocol and return the leaderboard: a line a row, `pcc_hvg` and the like as columns.

    Spreads stand in columns of their own (`pcc_hvg_sd_patients`, `pcc_hvg_sd_seeds`); `rank` is empty for oracles and
    for rows with failed cells, whose number is in `failed`. Cells that are done are read, not run again.

    Args:
        SETTINGS
        quiet: Say only what goes wrong; by default so but in a notebook, which shows bars.

    Returns:
        A DataFrame that a notebook shows as the command line prints it; see `qbench.leaderboard.frames.Results`.

    Raises:
        ConfigurationError: an unknown name or option.
        IntegrityError: a leak.
        DataError: files missing or damaged.
    """
    from ..leaderboard.frames import Results
    from ..leaderboard.record import find_records
    from ..leaderboard.transfer import summarise_beside
    from .engine.notebook import Notebook, in_notebook
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
    shown = in_notebook() and not quiet
    records = [
        record
        for plan in plans
        for record in execute(plan, Notebook() if shown else make_reporter(quiet is not False, verbose=False))
    ]
    tables = summarise_beside(records, lambda: (record for _, record in find_records(options.out)))
    return Results(tables, {cell: folder for plan in plans for cell, folder in plan.folders.items()})


def read_runs(runs: Where = "runs", encoders: Sequence[str] = ()) -> Results:
    """What a runs folder holds, as `run` returns it; nothing is run.

    Args:
        runs: the folder that `qbench run --out` wrote.
        encoders: leave out what stands on another encoder; what reads none stays.

    Raises:
        ConfigurationError: no such folder, no records in it, or an encoder that none of them stands on.
        IntegrityError: a damaged record.
    """
    from ..leaderboard.folder import read_tables
    from ..leaderboard.frames import Results

    return Results(*read_tables(Path(runs), encoders=encoders))


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
